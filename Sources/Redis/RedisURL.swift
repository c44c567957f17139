// Where Redis is and how to log in, as one URL:
//
//     redis://[[user]:password@]host[:port][/db]      host may be [IPv6]; port 6379, database 0 by default
//     unix:///path[?db=N]
//     sentinel://[[user]:password@]host[:port][,host[:port]…]/master[?db=N]      port 26379 by default
//     cluster://[[user]:password@]host[:port][,host[:port]…]      any nodes of a Redis Cluster, port 6379 by default
//
// rediss://, sentinels:// and clusters:// are the same with TLS, to the sentinels as well as to the server.
//
// Credentials, the path and the master's name are percent-decoded. Printing the value never shows the
// password. Pure value, any thread.

import Bytes
import Network

/// Why a text is no Redis URL. The description holds the expected form and nothing of the text: it may carry
/// a password.
package enum RedisURLError: Error, Equatable, CustomStringConvertible {
    case scheme, tls, blank, credentials, slash, host, port, query, database, path, master, clusterDatabase

    package var description: String { "\(reason); expected \(RedisURL.expectedForm)" }

    /// What is wrong, without the expected form.
    package var reason: String {
        switch self {
        case .scheme:
            "the scheme is not redis://, rediss://, unix://, sentinel://, sentinels://, cluster:// or clusters://"
        case .tls:
            "rediss://, sentinels:// and clusters:// need a program that was built with the package trait TLS"
        case .blank: "it begins or ends with a blank or a line feed"
        case .credentials:
            "a % in the user or the password begins no escape of UTF-8: write % as %25, @ as %40, : as %3A, / as %2F"
        case .slash:
            "a / in the user or the password is not escaped: write / as %2F, and ? as %3F, # as %23, @ as %40"
        case .host: "the host is missing or malformed"
        case .port: "the port is not a number from 1 to 65535 (a password stands in front of an @)"
        case .query: "there is a ? or # behind the host: the database is written as /N"
        case .database: "the database is not a number from 0 to \(RedisURL.maximumDatabase)"
        case .path: "the socket path is not absolute or longer than \(RedisURL.maximumPathBytes) bytes"
        case .master: "the name of the master is missing or malformed"
        case .clusterDatabase:
            "there is something behind the hosts: a Redis Cluster has no other database than 0"
        }
    }
}

/// Address, credentials and database of a Redis server.
package struct RedisURL: Sendable, Equatable {
    /// The forms that `init` takes, for error messages.
    package static let expectedForm =
        "redis://[user:password@]host[:port][/db], unix:///path[?db=N], "
        + "sentinel://[user:password@]host[:port],host[:port]/master[?db=N] "
        + "or cluster://[user:password@]host[:port],host[:port]; with TLS rediss://, sentinels:// or clusters://"
    /// hiredis copies the path without a terminating zero when it fills `sun_path` (108 bytes on Linux); 103
    /// stays clear of that and of the 104 bytes that other systems have.
    package static let maximumPathBytes = 103
    /// Redis keeps 16 databases unless configured otherwise, and as many as an `int` counts at most.
    package static let maximumDatabase = Int(Int32.max) - 1

    /// Where a server listens.
    package enum Address: Sendable, Hashable {
        /// Host (IPv6 without brackets) and port, 1...65535.
        case tcp(host: String, port: Int)
        /// The path of a Unix domain socket, at most `maximumPathBytes` bytes.
        case unix(path: String)
    }

    /// Sentinels, and which of the masters that they watch is meant.
    package struct Sentinels: Sendable, Equatable {
        /// At least one; in the order in which they are asked.
        package let addresses: [Address]
        package let masterName: String
        /// The sentinels' own `requirepass`; nil when they need no login.
        package fileprivate(set) var password: String?
        fileprivate let isTLS: Bool
        fileprivate var context: TLSContext?

        /// With what connections to them are secured; nil for plain ones.
        var tls: TLSContext? { RedisURL.context(context, isTLS: isTLS) }

        /// The arguments of AUTH at a sentinel, without the command's name.
        var authArguments: [String]? { password.map { [$0] } }
    }

    /// How the server is found.
    package enum Route: Sendable, Equatable {
        /// It is always at one place.
        case server(Address)
        /// The sentinels say where it is at present.
        case master(Sentinels)
        /// The nodes of a cluster say which of them has a key. At least one of them, in the order in which they are
        /// asked.
        case cluster([Address])
    }

    package private(set) var route: Route
    /// nil is Redis' user `default`.
    package let user: String?
    package private(set) var password: String?
    /// Where the password is read at every login; nil if it is `password`.
    package private(set) var passwordFile: PasswordFile?
    /// 0...`maximumDatabase`.
    package let database: Int
    /// Whether connections are secured. Before one is made, `secured` has to say by what.
    package let isTLS: Bool
    private var context: TLSContext?
    /// Whether it is the URL of one node of a cluster, which has a part of the keys.
    private(set) var isNodeOfCluster = false

    /// With what connections are secured; nil for plain ones.
    var tls: TLSContext? { Self.context(context, isTLS: isTLS) }

    /// Whether the certificates of secured connections are not checked.
    package var trustsAnyone: Bool { context.map { !$0.settings.isVerified } ?? false }

    /// Parses a URL.
    ///
    /// - Throws: `RedisURLError`, which never shows a part of the text.
    package init(_ text: String) throws(RedisURLError) {
        guard text.first?.isWhitespace != true, text.last?.isWhitespace != true else { throw .blank }
        isTLS = ["rediss://", "sentinels://", "clusters://"].contains { Self.drop($0, from: text) != nil }
        guard !isTLS || TLSContext.isBuilt else { throw .tls }
        if let rest = Self.drop(isTLS ? "rediss://" : "redis://", from: text) {
            let slash = rest.firstIndex(of: "/") ?? rest.endIndex
            // No database has an @: it ends credentials, which the slash is a part of.
            guard !rest[slash...].contains("@") else { throw .slash }
            let hosts: Substring
            (user, password, hosts) = try Self.splitAuthority(rest[..<slash])
            guard !hosts.contains(where: { $0 == "?" || $0 == "#" }) else { throw .query }
            route = .server(try Self.parseHost(hosts, defaultPort: 6379))
            let databaseText = rest[slash...].dropFirst()
            database = databaseText.isEmpty ? 0 : try Self.parseDatabase(databaseText)
        } else if let rest = Self.drop("unix://", from: text) {
            (user, password) = (nil, nil)
            let question = rest.firstIndex(of: "?") ?? rest.endIndex
            guard let path = Self.percentDecoded(rest[..<question]), path.hasPrefix("/"),
                path.utf8.count <= Self.maximumPathBytes, !path.utf8.contains(0)
            else { throw .path }
            route = .server(.unix(path: path))
            database = try Self.parseQuery(rest[question...])
        } else if let rest = Self.drop(isTLS ? "sentinels://" : "sentinel://", from: text) {
            let slash = rest.firstIndex(of: "/") ?? rest.endIndex
            let hosts: Substring
            (user, password, hosts) = try Self.splitAuthority(rest[..<slash])
            let path = rest[slash...].dropFirst()
            // Sentinel allows no @ in a name.
            guard !path.contains("@") else { throw .slash }
            let question = path.firstIndex(of: "?") ?? path.endIndex
            route = .master(try Self.parseSentinels(hosts, masterName: path[..<question], isTLS: isTLS))
            database = try Self.parseQuery(path[question...])
        } else if let rest = Self.drop(isTLS ? "clusters://" : "cluster://", from: text) {
            let slash = rest.firstIndex(of: "/") ?? rest.endIndex
            guard !rest[slash...].contains("@") else { throw .slash }
            let hosts: Substring
            (user, password, hosts) = try Self.splitAuthority(rest[..<slash])
            guard rest[slash...].count <= 1, !hosts.contains(where: { $0 == "?" || $0 == "#" }) else {
                throw .clusterDatabase
            }
            route = .cluster(try Self.parseHosts(hosts, defaultPort: 6379))
            database = 0
        } else {
            throw .scheme
        }
    }

    /// The same URL with a password that was given apart; nil or empty keeps the one in the URL.
    package func overriding(password: String?) -> RedisURL {
        guard let password, !password.isEmpty else { return self }
        var copy = self
        copy.password = password
        return copy
    }

    /// The same URL with a password that is read from a file at every login; nil keeps the one in the URL.
    package func withPasswordFile(_ path: String?) -> RedisURL {
        guard let path else { return self }
        var copy = self
        copy.passwordFile = PasswordFile(path: path)
        return copy
    }

    /// The same URL with the password of the sentinels themselves; nil or empty means no password, and
    /// without sentinels it means nothing.
    package func withSentinelPassword(_ password: String?) -> RedisURL {
        guard let password, !password.isEmpty, case .master(var sentinels) = route else { return self }
        var copy = self
        sentinels.password = password
        copy.route = .master(sentinels)
        return copy
    }

    /// Whether it leads to a Redis Cluster.
    package var isCluster: Bool { if case .cluster = route { true } else { false } }

    /// The URL of one node of the cluster that this leads to, with the same login and security.
    func node(_ address: Address) -> RedisURL {
        var copy = self
        copy.route = .server(address)
        copy.isNodeOfCluster = true
        return copy
    }

    /// The same URL with what connections are secured with: for a URL with TLS.
    package func secured(by context: TLSContext) -> RedisURL {
        precondition(isTLS, "a plain connection is not secured")
        var copy = self
        copy.context = context
        if case .master(var sentinels) = route {
            sentinels.context = context
            copy.route = .master(sentinels)
        }
        return copy
    }

    /// So that no connection is ever plain for want of a context.
    fileprivate static func context(_ context: TLSContext?, isTLS: Bool) -> TLSContext? {
        precondition(isTLS == (context != nil), "a URL with TLS is used once it is secured")
        return context
    }

    /// The arguments of AUTH, without the command's name; nil when the server needs no login.
    ///
    /// A user without a password logs in with an empty one, which Redis takes for `nopass` users.
    package var authArguments: [String]? { authArguments(password: password) }

    /// The arguments of AUTH at this moment.
    ///
    /// - Throws: `unavailable`, when there is no password in the file.
    func readAuthArguments() throws(RedisFailure) -> [String]? {
        authArguments(password: try passwordFile?.read() ?? password)
    }

    private func authArguments(password: String?) -> [String]? {
        if let user { return [user, password ?? ""] }
        return password.map { [$0] }
    }

    private static func drop(_ prefix: String, from text: some StringProtocol) -> Substring? {
        guard text.lowercased().hasPrefix(prefix) else { return nil }
        return Substring(text).dropFirst(prefix.count)
    }

    /// `[[user]:password@]hosts`; the last `@` ends the credentials.
    private static func splitAuthority(
        _ text: Substring
    ) throws(RedisURLError) -> (user: String?, password: String?, hosts: Substring) {
        guard let at = text.lastIndex(of: "@") else { return (nil, nil, text) }
        let credentials = text[..<at]
        let colon = credentials.firstIndex(of: ":") ?? credentials.endIndex
        guard let user = percentDecoded(credentials[..<colon]),
            let password = percentDecoded(credentials[colon...].dropFirst())
        else { throw .credentials }
        return (
            user.isEmpty ? nil : user, password.isEmpty ? nil : password, text[text.index(after: at)...]
        )
    }

    private static func parseSentinels(
        _ hosts: Substring, masterName: Substring, isTLS: Bool
    ) throws(RedisURLError) -> Sentinels {
        let addresses = try parseHosts(hosts, defaultPort: 26379)
        // Sentinel allows letters, digits and `.-_` in a name; spaces would break its messages apart.
        guard let name = percentDecoded(masterName), !name.isEmpty,
            name.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F })
        else { throw .master }
        return Sentinels(addresses: addresses, masterName: name, password: nil, isTLS: isTLS)
    }

    /// Hosts with commas between them, each once.
    private static func parseHosts(_ text: Substring, defaultPort: Int) throws(RedisURLError) -> [Address] {
        var addresses: [Address] = []
        for host in text.split(separator: ",", omittingEmptySubsequences: false) {
            let address = try parseHost(host, defaultPort: defaultPort)
            if !addresses.contains(address) { addresses.append(address) }
        }
        return addresses
    }

    /// `?db=N`, or nothing.
    private static func parseQuery(_ text: Substring) throws(RedisURLError) -> Int {
        if text.isEmpty { return 0 }
        guard let databaseText = drop("?db=", from: text) else { throw .database }
        return try parseDatabase(databaseText)
    }

    private static func parseHost(_ text: Substring, defaultPort: Int) throws(RedisURLError) -> Address {
        do throws(Endpoint.Fault) {
            let endpoint = try Endpoint(parsing: text, defaultPort: defaultPort)
            guard endpoint.port > 0 else { throw .port }
            return .tcp(host: endpoint.host, port: endpoint.port)
        } catch {
            throw error == .host ? .host : .port
        }
    }

    private static func parseDatabase(_ text: Substring) throws(RedisURLError) -> Int {
        guard let database = unsignedDecimal(text), database <= maximumDatabase else { throw .database }
        return database
    }

    /// nil for a malformed escape, or when the result is not UTF-8.
    private static func percentDecoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == 0x25 else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(Ascii.hexValue),
                let low = rest.popFirst().flatMap(Ascii.hexValue)
            else { return nil }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}

extension RedisURL: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The URL with `***` for the password; for the user, too, where it stands alone: it may be a password
    /// if its author is used to redis-cli, which takes it for one.
    package var description: String {
        let credentials =
            switch (user, password) {
            case (nil, nil): ""
            case (_, nil): "***@"
            case (let user, _): "\(user ?? ""):***@"
            }
        switch route {
        case .server(.unix(let path)):
            return "unix://\(path)" + (database == 0 ? "" : "?db=\(database)")
        case .server(let address):
            return "redis\(isTLS ? "s" : "")://\(credentials)\(address)"
                + (database == 0 ? "" : "/\(database)")
        case .master(let sentinels):
            let hosts = Self.list(sentinels.addresses)
            return "sentinel\(isTLS ? "s" : "")://\(credentials)\(hosts)/\(sentinels.masterName)"
                + (database == 0 ? "" : "?db=\(database)")
        case .cluster(let seeds):
            return "cluster\(isTLS ? "s" : "")://\(credentials)\(Self.list(seeds))"
        }
    }

    /// Where it leads, without credentials: `host:port`, the path, the sentinels and the master's name, or nodes of the
    /// cluster.
    package var destination: String {
        switch route {
        case .server(let address): "\(address)"
        case .master(let sentinels):
            Self.list(sentinels.addresses) + "/" + sentinels.masterName
        case .cluster(let seeds): Self.list(seeds)
        }
    }

    private static func list(_ addresses: [Address]) -> String {
        addresses.map(\.description).joined(separator: ",")
    }

    package var debugDescription: String { description }

    /// Keeps `dump` and string interpolation of what contains a URL from showing the password.
    package var customMirror: Mirror { Mirror(self, children: ["url": description]) }
}

extension RedisURL.Address {
    /// The host, or the path.
    var host: String {
        switch self {
        case .unix(let path): path
        case .tcp(let host, _): host
        }
    }

    /// With whom a connection to this address is secured; nil for a plain one.
    func peer(securedBy context: TLSContext?) -> TLSPeer? {
        guard let context else { return nil }
        guard case .tcp(let host, _) = self else { preconditionFailure("no URL secures a Unix socket") }
        return TLSPeer(context: context, host: host)
    }
}

extension RedisURL.Address: CustomStringConvertible {
    /// `host:port`, or the path.
    package var description: String {
        switch self {
        case .unix(let path): path
        case .tcp(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        }
    }
}
