// The entry that libFuzzer calls with each input, and the choice among the targets. One binary holds them
// all, because they share most of their code; scripts/fuzz builds and runs it. Single thread.

import Glibc

/// What a run throws its inputs at.
enum FuzzTarget: String, CaseIterable {
    case requestHead = "request-head"
    case responseHead = "response-head"
    case frames
    case payload
    case tls

    /// The environment variable that names the target.
    private static let variable = "FUZZ_TARGET"

    static let selected: FuzzTarget = {
        let name = getenv(variable).map { String(cString: $0) } ?? ""
        guard let target = FuzzTarget(rawValue: name) else {
            let names = allCases.map(\.rawValue).joined(separator: ", ")
            fatalError("\(variable) is \"\(name)\", expected one of \(names)")
        }
        return target
    }()

    func run(_ input: [UInt8]) {
        // Cuts and limits come from the input itself, so that an input alone repeats a finding and the
        // corpus stays readable. FNV-1a.
        let seed = input.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        var random = SeededRandom(seed: seed)
        switch self {
        case .requestHead: RequestHeadTarget.run(input, &random)
        case .responseHead: ResponseHeadTarget.run(input, &random)
        case .frames: FramesTarget.run(input, &random)
        case .payload: PayloadTarget.run(input, &random)
        case .tls: TLSTarget.run(input, &random)
        }
    }
}

/// Called by libFuzzer. The bytes are its own and must not be changed; 0 means that the input may join the
/// corpus.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    FuzzTarget.selected.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

/// Ends the process, which libFuzzer reports with the input, unless `condition` holds.
func require(_ condition: Bool, _ claim: @autoclosure () -> String) {
    if !condition { fatalError("does not hold: \(claim())") }
}

/// Runs `body` with the bytes in memory of exactly their size, so that the address sanitizer sees the first
/// byte that is touched beside them.
func withExactCopy<Value>(
    _ bytes: some Collection<UInt8>, _ body: (UnsafeMutableRawBufferPointer) -> Value
) -> Value {
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    defer { copy.deallocate() }
    copy.copyBytes(from: bytes)
    return body(copy)
}

/// Ways to cut an input: in one piece, at a few places, and, if it is short, at every byte. The last cut of
/// each is the input's end.
func cuttings(of count: Int, _ random: inout SeededRandom) -> [[Int]] {
    let few = (0..<Int.random(in: 1...8, using: &random)).map { _ in
        Int.random(in: 0...count, using: &random)
    }
    // Heads are searched from their start for each piece here, so every byte of a long one would take too
    // long.
    return [[count], few.sorted() + [count]] + (count <= 256 ? [Array(0...count)] : [])
}
