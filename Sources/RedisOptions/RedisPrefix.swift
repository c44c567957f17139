// What `--prefix` must not have in front of the keys of a Redis Cluster, the same in each program.

import Options
import Redis

/// Checks a prefix against the URLs that it is used with.
package enum RedisPrefix {
    /// In a cluster the text between braces decides where a key lies: behind a prefix with a brace all keys could share
    /// one master, or keys that belong together could lie apart.
    ///
    /// - Throws: `UsageError`, which names `prefix`.
    package static func check(
        _ prefix: String, with urls: [RedisURL], by values: OptionValues
    ) throws(UsageError) {
        guard urls.contains(where: \.isCluster), prefix.contains(where: { $0 == "{" || $0 == "}" }) else {
            return
        }
        throw UsageError(
            "\(values.originText("prefix")): expected no brace with a URL that begins with cluster:// or "
                + "clusters://, where the text between braces decides which master has a key")
    }
}
