// The JSON of a node's report, as far as console and publisher show it alike. Pure.

import JSON

extension NodeReport {
    /// Writes the members that every picture of a node has, into an object.
    package func writeMembers(to json: inout JsonWriter) {
        json.member("id", id)
        json.member("address", address)
        json.member("version", version)
        json.member("startedAt", startedAt)
        json.member("workers", workers)
        json.member("ready", isReady)
        json.member("draining", isDraining)
        json.member("connections", connections)
        json.member("eventStreams", eventStreams)
        json.member("compressed", compressed)
        json.member("connectionsLimit", connectionsLimit)
        json.member("rooms", rooms)
        json.member("received", received)
        json.member("delivered", delivered)
        json.member("writtenBytes", writtenBytes)
        json.member("queueBytes", queueBytes)
        json.member("tokensIssued", tokensIssued)
        json.member("handshakes", handshakes)
        json.member("rejected", rejected)
        json.member("closes") { json in for one in closes { json.member(one.reason, one.count) } }
        json.member("redisReconnects", redisReconnects)
    }
}

extension RoomHistory {
    /// Writes the members that every picture of a history has, into an object.
    package func writeMembers(to json: inout JsonWriter) {
        json.member("notices", count)
        json.member("bytes", bytes)
        json.member("oldestMs", oldestAge?.wholeMilliseconds)
    }
}
