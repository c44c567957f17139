// The Prometheus text format (version 0.0.4), read strictly: a line that is no comment and no sample is an
// error.
import Foundation

struct Metrics: Sendable {
    /// By name with its labels as they stand, e.g. `roomcast_closes_total{code="4000"}`.
    let samples: [String: Double]
    /// By name of the family.
    let types: [String: String]

    init(_ text: String) throws {
        var samples: [String: Double] = [:]
        var types: [String: String] = [:]
        let name = #"[a-zA-Z_:][a-zA-Z0-9_:]*"#
        let label = #"[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*""#
        let sample = try Regex(#"(\#(name)(?:\{\#(label)(?:,\#(label))*,?\})?) (\S+)(?: -?\d+)?"#)
            .asciiOnlyDigits()
        let comment = try Regex(#"# (HELP|TYPE) (\#(name)) (.+)"#)
        guard text.hasSuffix("\n") else { throw HarnessError("metrics do not end with a line feed") }
        for line in text.split(separator: "\n") {
            if let found = line.wholeMatch(of: comment) {
                let words = found.output.compactMap(\.substring).map(String.init)
                if words[1] == "TYPE" { types[words[2]] = words[3] }
            } else if let found = line.wholeMatch(of: sample), let key = found.output[1].substring,
                let text = found.output[2].substring, let value = Double(text)
            {
                guard samples.updateValue(value, forKey: String(key)) == nil else {
                    throw HarnessError("sample twice: \(key)")
                }
            } else {
                throw HarnessError("no line of the exposition format: \(line)")
            }
        }
        (self.samples, self.types) = (samples, types)
    }

    /// The value of a sample, or the sum over the labels of a family; 0 when there is none yet.
    subscript(name: String) -> Double {
        samples.filter { $0.key == name || $0.key.hasPrefix(name + "{") }.values.reduce(0, +)
    }
}
