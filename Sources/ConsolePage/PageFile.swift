// The files of the console, which are part of the binary. Immutable, any thread.

/// One file of the console.
package struct PageFile: Sendable {
    /// In the address, behind `/console/`.
    package let path: String
    package let contentType: String
    package let bytes: [UInt8]
    /// Changes with the content: an entity tag with its quotes (RFC 9110 section 8.8.3).
    package let tag: String

    /// The file of a path; nil if there is none.
    package static func at(_ path: String) -> PageFile? { all[path] }

    /// Every file, by its path.
    package static let all: [String: PageFile] = {
        let script = "text/javascript; charset=utf-8"
        let files = [
            PageFile("", "text/html; charset=utf-8", PackageResources.index_html),
            PageFile("console.css", "text/css; charset=utf-8", PackageResources.console_css),
            PageFile("console.js", script, PackageResources.console_js),
            PageFile("history.js", script, PackageResources.history_js),
            PageFile("charts.js", script, PackageResources.charts_js),
            PageFile("tools.js", script, PackageResources.tools_js),
            PageFile("icon.svg", "image/svg+xml", PackageResources.icon_svg),
        ]
        return Dictionary(uniqueKeysWithValues: files.map { ($0.path, $0) })
    }()

    private init(_ path: String, _ contentType: String, _ bytes: [UInt8]) {
        self.path = path
        self.contentType = contentType
        self.bytes = bytes
        // FNV-1a, 64 bits: nobody gains by making two files that collide.
        let hash = bytes.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        tag = "\"" + String(hash, radix: 16) + "\""
    }
}
