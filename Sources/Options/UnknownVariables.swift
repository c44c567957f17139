// Environment variables that look like options of a program but are not: mostly misspelt ones, which the
// program would otherwise ignore silently. Pure.

/// A variable that has the prefix of a program but sets none of its options.
package struct UnknownVariable: Equatable, Sendable {
    /// Its name; the value may be a secret and is never shown.
    package let name: String
    /// The variable that the user probably meant.
    package let suggestion: String?

    /// One line for people.
    package var warning: String {
        let hint = suggestion.map { ", did you mean \($0)?" } ?? ""
        return "warning: unknown environment variable \(UsageError.printable(name, maximumCount: 80))\(hint)"
    }
}

extension Program {
    /// Those of this program and its subcommands among the variables of an environment, in their order.
    ///
    /// - Complexity: O(unknown variables times options).
    package func unknownVariables(
        _ variables: [(name: String, value: String)]? = nil
    ) -> [UnknownVariable] {
        let programs = [self] + subcommands.map(\.program)
        let known = Set(
            programs.flatMap { program in
                program.options.flatMap { $0.variables(prefix: program.variablePrefix) }
            })
        return (variables ?? ProcessEnvironment.all(prefix: variablePrefix)).compactMap { name, value in
            guard name.hasPrefix(variablePrefix), !known.contains(name),
                !Self.isOfKubernetes(name.dropFirst(variablePrefix.count), value: value)
            else { return nil }
            return UnknownVariable(name: name, suggestion: closest(to: name, among: known))
        }
    }

    /// Whether Kubernetes sets such a variable, in every container of a namespace that has a service whose
    /// name begins like the program: `SERVICE_HOST`, `SERVICE_PORT`, `SERVICE_PORT_<NAME>`, `PORT`,
    /// `PORT_<N>_TCP`, and the last with `_PROTO`, `_PORT` and `_ADDR`. `PORT` is of Kubernetes only if it
    /// is a URL: a number means an option.
    private static func isOfKubernetes(_ rest: Substring, value: String) -> Bool {
        let words = rest.split(separator: "_", omittingEmptySubsequences: false)
        let protocols = ["TCP", "UDP", "SCTP"]
        let isURL = protocols.contains { value.hasPrefix($0.lowercased() + "://") }
        if words.last == "PORT", isURL { return true }
        for index in words.indices {
            let tail = words[index...]
            if tail.first == "SERVICE" {
                if tail.count == 2, tail.last == "HOST" { return true }
                if tail.count >= 2, tail[tail.startIndex + 1] == "PORT" { return true }
            }
            guard tail.first == "PORT", (3...4).contains(tail.count),
                let port = Int(tail[tail.startIndex + 1]),
                (0...65535).contains(port), protocols.contains(String(tail[tail.startIndex + 2]))
            else { continue }
            if tail.count == 3 || ["PROTO", "PORT", "ADDR"].contains(tail[tail.startIndex + 3]) {
                return true
            }
        }
        return false
    }

    /// The variable with the fewest letters changed, of those that differ in a third of the name at most;
    /// among equals the one that begins like it the longest.
    private func closest(to name: String, among known: Set<String>) -> String? {
        let given = Array(name.dropFirst(variablePrefix.count).utf8)
        // A longer name is hardly a typing error, and would cost time.
        guard given.count <= 64 else { return nil }
        let distances = known.filter { $0.hasPrefix(variablePrefix) }.map { candidate in
            let own = Array(candidate.dropFirst(variablePrefix.count).utf8)
            let commonCount = zip(given, own).prefix { $0 == $1 }.count
            return (distance: Self.editDistance(given, own), commonCount: commonCount, candidate: candidate)
        }
        let best = distances.min {
            ($0.distance, -$0.commonCount, $0.candidate) < ($1.distance, -$1.commonCount, $1.candidate)
        }
        guard let best,
            best.distance * 3 <= max(given.count, 3)
        else { return nil }
        return best.candidate
    }

    /// The number of letters to insert, delete or replace to turn one text into the other (Levenshtein).
    private static func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var row = Array(0...right.count)
        for (index, letter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for (column, other) in right.enumerated() {
                let replaced = diagonal + (letter == other ? 0 : 1)
                diagonal = row[column + 1]
                row[column + 1] = min(replaced, row[column] + 1, row[column + 1] + 1)
            }
        }
        return row[right.count]
    }
}
