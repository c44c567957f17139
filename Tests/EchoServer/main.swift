// An echo server on the gateway's codec and loop, for test suites that expect one (scripts/conformance). Not
// shipped. Usage: EchoServer HOST:PORT

import EventLoop
import Glibc
import Network
import Options
import WebSocket

func fail(_ message: String) -> Never {
    print("EchoServer: \(message)")
    exit(2)
}

func serve(_ endpoint: Endpoint) throws(SystemError) {
    let loop = try EventLoop()
    let listening = try ListeningSocket(
        host: endpoint.host, port: UInt16(endpoint.port), sharing: .exclusive)
    let readBuffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 64)
    let compression = PermessageDeflate.isBuiltIn ? EchoConnection.Compression() : nil
    var connections: [ObjectIdentifier: EchoConnection] = [:]
    let listener = Listener(
        listening, on: loop, onError: { print("EchoServer: \($0)") },
        onAccept: { socket, _ in
            let connection = EchoConnection(
                socket: socket, loop: loop, readBuffer: readBuffer, compression: compression
            ) {
                connections[ObjectIdentifier($0)] = nil
            }
            connections[ObjectIdentifier(connection)] = connection
        })
    print("listening on \(listening.host):\(listening.port)")
    fflush(nil)
    withExtendedLifetime(listener) { loop.run() }
}

StandardStreams.openClosed()
guard CommandLine.arguments.count == 2, let endpoint = Endpoint(CommandLine.arguments[1]) else {
    fail("expected one argument, HOST:PORT")
}
do throws(SystemError) {
    try serve(endpoint)
} catch {
    fail("\(error)")
}
