import TestSupport
import Testing

@testable import WebSocket

private func hex(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}

@Suite struct Sha1Tests {
    @Test func digestsTheVectorsOfTheStandard() {
        let vectors = [
            ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1"
            ),
            (String(repeating: "a", count: 1_000_000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
        ]
        for (message, digest) in vectors {
            #expect(hex(withRaw(message, Sha1.digest)) == digest)
        }
    }

    /// The message of each length is the bytes 0, 1, 2 … 250, 0, 1 …; digests by another implementation.
    @Test(arguments: [
        (0, "da39a3ee5e6b4b0d3255bfef95601890afd80709"), (1, "5ba93c9db0cff93f52b521d7420e43f6eda2784f"),
        (54, "cfae6d86a767b9c700b5081a54265fb2fe0f6fd9"), (55, "8ae2d46729cfe68ff927af5eec9c7d1b66d65ac2"),
        (56, "636e2ec698dac903498e648bd2f3af641d3c88cb"), (57, "7cb1330f35244b57437539253304ea78a6b7c443"),
        (63, "6d942da0c4392b123528f2905c713a3ce28364bd"), (64, "c6138d514ffa2135bfce0ed0b8fac65669917ec7"),
        (65, "69bd728ad6e13cd76ff19751fde427b00e395746"), (119, "41c89d06001bab4ab78736b44efe7ce18ce6ae08"),
        (120, "d3dbd653bd8597b7475321b60a36891278e6a04a"), (127, "89d7312a903f65cd2b3e34a975e55dbea9033353"),
        (128, "e6434bc401f98603d7eda504790c98c67385d535"),
        (1000, "c9c960a0b925474fab83942cc27d504fc24ac37b"),
    ])
    func digestsEveryBoundaryOfPadding(length: Int, digest: String) {
        #expect(hex(withRaw((0..<length).map { UInt8($0 % 251) }, Sha1.digest)) == digest)
    }
}
