// One zlib stream of raw DEFLATE data (RFC 1951). The only place that knows whether the package is built
// with zlib (package trait Compression). Belongs to its inflater or deflater and is used on that one's
// thread.

/// What a stream does.
enum ZlibDirection {
    case inflating
    /// With a window of 2^`windowBits` bytes.
    case deflating(windowBits: Int)
}

/// What one step of a stream has done.
struct ZlibStep {
    enum Outcome { case proceeding, ended, malformed }

    /// How much of the input was taken.
    var takenBytes = 0
    /// How much of the output was filled.
    var givenBytes = 0
    var outcome = Outcome.proceeding
}

#if Compression
    import CZlib

    /// Owns a `z_stream`, which zlib knows by its address: on the heap, freed with this object.
    final class ZlibStream {
        static let isBuiltIn = true

        /// zlib's own default. A notice is compressed once and sent many times: of 4 KiB JSON, level 1 would
        /// leave a tenth more for two thirds of the time.
        private static let level: Int32 = 6
        /// 8 KiB of hash table, which zlib clears for each message; the default of 64 KiB brings nothing for
        /// notices.
        private static let memoryLevel: Int32 = 5

        private let stream: UnsafeMutablePointer<z_stream>
        private let isInflating: Bool

        init(_ direction: ZlibDirection) {
            stream = .allocate(capacity: 1)
            stream.initialize(to: z_stream())
            let size = Int32(MemoryLayout<z_stream>.size)
            // Negative window bits stand for data without zlib's own header and checksum.
            let result: Int32
            switch direction {
            case .inflating:
                isInflating = true
                result = inflateInit2_(stream, -MAX_WBITS, ZLIB_VERSION, size)
            case .deflating(let windowBits):
                isInflating = false
                result = deflateInit2_(
                    stream, Self.level, Z_DEFLATED, -Int32(windowBits), Self.memoryLevel,
                    Z_DEFAULT_STRATEGY, ZLIB_VERSION, size)
            }
            precondition(result == Z_OK, "zlib begins a stream unless memory is short")
        }

        deinit {
            _ = isInflating ? inflateEnd(stream) : deflateEnd(stream)
            stream.deallocate()
        }

        /// Begins anew, with an empty window.
        func reset() {
            let result = isInflating ? inflateReset(stream) : deflateReset(stream)
            precondition(result == Z_OK, "a stream can be used again")
        }

        /// Takes input and gives output until one of them is used up; whatever has been taken by then is
        /// flushed.
        func step(
            _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
        ) -> ZlibStep {
            stream.pointee.next_in = UnsafeMutablePointer(
                mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self))
            stream.pointee.avail_in = UInt32(input.count)
            stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(output.count)
            let result = isInflating ? inflate(stream, Z_SYNC_FLUSH) : deflate(stream, Z_SYNC_FLUSH)
            return ZlibStep(
                takenBytes: input.count - Int(stream.pointee.avail_in),
                givenBytes: output.count - Int(stream.pointee.avail_out),
                // Z_BUF_ERROR only says that the step could do nothing.
                outcome: result == Z_STREAM_END
                    ? .ended : result == Z_OK || result == Z_BUF_ERROR ? .proceeding : .malformed)
        }

        /// Whether an inflating stream stands behind the end of a block, where a message can end (zlib.h,
        /// `inflate`).
        var isBetweenBlocks: Bool { stream.pointee.data_type & 128 != 0 }
    }
#else
    /// Nothing makes one: options that need it are refused.
    final class ZlibStream {
        static let isBuiltIn = false

        init(_ direction: ZlibDirection) { preconditionFailure("built without zlib") }

        func reset() {}

        func step(
            _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
        ) -> ZlibStep { ZlibStep(outcome: .malformed) }

        var isBetweenBlocks: Bool { false }
    }
#endif
