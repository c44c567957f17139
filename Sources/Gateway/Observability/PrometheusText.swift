// The metrics as text (Prometheus exposition format 0.0.4). Runs on the control loop, reads from any thread.

import Redis
import RedisSchema
import System

/// Writes metric families in order.
struct PrometheusText {
    private(set) var text = ""

    /// - Parameter droppedLogLines: see `Log.droppedCount`.
    init(_ metrics: Metrics, state: NodeState, nodeID: String, droppedLogLines: UInt64) {
        writeNode(state, nodeID)
        writeConnections(metrics, state)
        writeRoad(metrics, state)
        writeRequests(metrics)
        counter("roomcast_log_lines_dropped_total", "Log lines dropped because no one read the log.")
        sample("roomcast_log_lines_dropped_total", droppedLogLines)
        writeProcess(state)
    }

    private mutating func writeNode(_ state: NodeState, _ nodeID: String) {
        gauge("roomcast_info", "The node and its version; always 1.")
        sample("roomcast_info", 1, [("node", nodeID), ("version", Roomcast.version)])
        gauge("roomcast_ready", "Whether /readyz answers 200.")
        sample("roomcast_ready", state.reasonsNotReady.isEmpty ? 1 : 0)
        gauge("roomcast_redis_up", "Whether all connections to Redis of this role are up.")
        sample("roomcast_redis_up", state.missingFeedCount == 0 ? 1 : 0, [("role", "subscriber")])
        sample("roomcast_redis_up", state.missingCommandCount == 0 ? 1 : 0, [("role", "command")])
        gauge(
            "roomcast_redis_refuses_writes",
            "Whether Redis answers but refuses writes, so that heartbeat deadlines wait.")
        sample("roomcast_redis_refuses_writes", state.writeRefusal == nil ? 0 : 1)
        gauge(
            "roomcast_redis_may_evict",
            "Whether Redis' maxmemory-policy may evict the records of connected clients.")
        sample("roomcast_redis_may_evict", state.isEvictionPossible ? 1 : 0)
        gauge("roomcast_node_id_shared", "Whether another node reports under this node's id.")
        sample("roomcast_node_id_shared", state.isNodeIDShared ? 1 : 0)
        gauge("roomcast_uptime_seconds", "Seconds since the node started.")
        sample("roomcast_uptime_seconds", UInt64(state.uptime.components.seconds))
        gauge("roomcast_connections_limit", "Most connections of clients that the node accepts.")
        sample("roomcast_connections_limit", UInt64(state.maximumClientCount))
    }

    private mutating func writeConnections(_ metrics: Metrics, _ state: NodeState) {
        gauge("roomcast_connections", "Open connections of clients: WebSockets and event streams.")
        sample("roomcast_connections", metrics.total(ofAll: \.clients))
        gauge("roomcast_transport_connections", "Open connections of clients, by transport.")
        samplesByTransport("roomcast_transport_connections", metrics) { $0.clients }
        gauge("roomcast_compressed_connections", "WebSocket connections that take compressed messages.")
        sample("roomcast_compressed_connections", UInt64(max(0, state.compressedClientCount)))
        gauge("roomcast_http_connections", "Open HTTP connections, including handshakes on their way.")
        sample("roomcast_http_connections", metrics.total(\.httpConnections))
        counter(
            "roomcast_accept_pauses_total",
            "Times that the node stopped accepting for a while because descriptors or memory had run out.")
        sample("roomcast_accept_pauses_total", metrics.total(\.acceptPauses))
        gauge("roomcast_rooms", "Rooms that have clients on this node.")
        sample("roomcast_rooms", metrics.feedTotal(\.rooms))
        gauge("roomcast_queue_bytes", "Bytes queued for clients that read slowly.")
        sample("roomcast_queue_bytes", metrics.total(\.queueBytes))
        counter(
            "roomcast_closes_total",
            "Connections of clients that have ended, by close code (peer: the client closed; "
                + "lost: without a goodbye).")
        for reason in CloseReason.allCases {
            sample("roomcast_closes_total", metrics.closed(reason), [("code", reason.description)])
        }
    }

    private mutating func writeRoad(_ metrics: Metrics, _ state: NodeState) {
        counter("roomcast_messages_received_total", "Messages received from Redis.")
        sample("roomcast_messages_received_total", metrics.feedTotal(\.messagesReceived))
        counter("roomcast_received_bytes_total", "Payload bytes of the messages received from Redis.")
        sample("roomcast_received_bytes_total", metrics.feedTotal(\.bytesReceived))
        counter(
            "roomcast_payloads_held_back_total",
            "Published messages that the node dropped as invalid, by reason.")
        for reason in HeldBackReason.allCases {
            sample(
                "roomcast_payloads_held_back_total", metrics.feedTotal { $0.heldBack[reason.rawValue] },
                [("reason", reason.description)])
        }
        counter("roomcast_messages_compressed_total", "Messages that the node has compressed, each once.")
        sample("roomcast_messages_compressed_total", metrics.feedTotal(\.messagesCompressed))
        counter("roomcast_messages_shed_total", "Messages dropped because a worker was too far behind.")
        sample("roomcast_messages_shed_total", metrics.feedTotal(\.messagesShed))
        counter("roomcast_frames_delivered_total", "Messages written to clients or queued for them.")
        sample("roomcast_frames_delivered_total", metrics.total(\.framesDelivered))
        counter("roomcast_written_bytes_total", "Bytes written to clients.")
        sample("roomcast_written_bytes_total", metrics.total(\.bytesWritten))
        counter("roomcast_writes_total", "System calls that wrote to clients.")
        sample("roomcast_writes_total", metrics.total(\.writes))
        counter("roomcast_redis_reconnects_total", "Lost connections to Redis, by role.")
        sample("roomcast_redis_reconnects_total", metrics.feedTotal(\.reconnects), [("role", "subscriber")])
        sample("roomcast_redis_reconnects_total", metrics.total(\.redisReconnects), [("role", "command")])
        if let masters = state.masterCounts { writeCluster(metrics, masters, state) }
        counter(
            "roomcast_gaps_total",
            "Times during which the node may have missed messages of Redis or dropped them.")
        sample("roomcast_gaps_total", metrics.feedTotal(\.gaps))
        counter("roomcast_gap_seconds_total", "Sum of the lengths of all gaps in seconds, rounded up.")
        text += "roomcast_gap_seconds_total \(Double(metrics.feedTotal(\.gapMilliseconds)) / 1_000)\n"
        writeHistories(metrics)
        writeHistogram(metrics)
    }

    /// Only with a Redis Cluster.
    private mutating func writeCluster(
        _ metrics: Metrics, _ masters: (up: Int, down: Int), _ state: NodeState
    ) {
        gauge(
            "roomcast_redis_masters",
            "Masters of the Redis Cluster: connected to every worker, and not connected to some.")
        sample("roomcast_redis_masters", UInt64(masters.up), [("state", "up")])
        sample("roomcast_redis_masters", UInt64(masters.down), [("state", "down")])
        gauge(
            "roomcast_redis_reachable_slots",
            "Slots of the Redis Cluster, of 16,384, that every worker can reach.")
        sample("roomcast_redis_reachable_slots", UInt64(state.reachableSlotCount ?? 0))
        counter(
            "roomcast_redis_redirections_total",
            "Commands that a node of the Redis Cluster did not carry out, by its word.")
        for kind in ClusterConnection.RedirectionKind.allCases {
            let count = metrics.workers.reduce(0) { $0 + ($1.redirections[kind.rawValue]?.value ?? 0) }
            sample("roomcast_redis_redirections_total", count, [("kind", kind.rawValue)])
        }
        counter(
            "roomcast_redis_map_refreshes_total", "How often workers have asked which master has each slot.")
        sample("roomcast_redis_map_refreshes_total", metrics.total(\.mapRefreshes))
    }

    private mutating func writeHistories(_ metrics: Metrics) {
        counter(
            "roomcast_resumes_total",
            "Rooms of opted-in connections at their start: without a position (fresh), with nothing missed "
                + "(current), what was missed from the node's cache (ring) or from Redis (read), or lost.")
        for source in RoomAnswer<Message>.Source.allCases {
            sample(
                "roomcast_resumes_total", metrics.feedTotal { $0.resumes[source.rawValue] },
                [("result", "\(source)")])
        }
        counter("roomcast_history_reads_total", "Questions to Redis about the histories of rooms.")
        sample("roomcast_history_reads_total", metrics.feedTotal(\.historyReads))
        counter(
            "roomcast_history_filled_total",
            "Durable notices that the node had missed, or held, and delivered late.")
        sample("roomcast_history_filled_total", metrics.feedTotal(\.historyFilled))
        counter(
            "roomcast_rooms_lost_total",
            "Rooms whose opted-in clients were told that notices may be missing, by cause.")
        for cause in LossCause.allCases {
            sample(
                "roomcast_rooms_lost_total", metrics.feedTotal { $0.roomsLost[cause.rawValue] },
                [("why", "\(cause)")])
        }
        gauge("roomcast_history_cache_bytes", "Memory of the cached notices of durable rooms.")
        sample("roomcast_history_cache_bytes", metrics.feedTotal(\.historyCacheBytes))
    }

    private mutating func writeHistogram(_ metrics: Metrics) {
        let name = "roomcast_publish_to_flush_seconds"
        head(
            name, "From a message's arrival from Redis to the write for the last client of a worker.",
            "histogram")
        let counts = metrics.publishToFlush
        for (bound, count) in zip(DelayBuckets.bounds.map { "\($0)" } + ["+Inf"], counts) {
            sample(name + "_bucket", count, [("le", bound)])
        }
        let sum = metrics.total { $0.publishToFlush.sumNanoseconds }
        text += "\(name)_sum \(Double(sum) / 1_000_000_000)\n"
        sample(name + "_count", counts[DelayBuckets.bounds.count])
    }

    private mutating func writeRequests(_ metrics: Metrics) {
        counter("roomcast_tokens_issued_total", "Tokens issued.")
        sample("roomcast_tokens_issued_total", metrics.total(\.tokensIssued))
        counter(
            "roomcast_tokens_refused_total", "Requests for tokens refused for want of a valid issue key.")
        sample("roomcast_tokens_refused_total", metrics.total(\.tokensRefused))
        counter(
            "roomcast_tokens_limited_total",
            "Requests for tokens refused by a limit: of the address, or of the node.")
        sample("roomcast_tokens_limited_total", metrics.total(\.tokensLimited), [("limit", "address")])
        sample("roomcast_tokens_limited_total", metrics.total(\.tokensOverRate), [("limit", "node")])
        counter("roomcast_heartbeats_total", "Heartbeats, by result.")
        sample("roomcast_heartbeats_total", metrics.total(\.heartbeats), [("result", "ok")])
        sample("roomcast_heartbeats_total", metrics.total(\.heartbeatsRefused), [("result", "token_error")])
        sample("roomcast_heartbeats_total", metrics.total(\.pongs), [("result", "pong")])
        counter("roomcast_pings_total", "Pings sent to WebSocket clients.")
        sample("roomcast_pings_total", metrics.total(\.pings))
        counter(
            "roomcast_requests_unavailable_total",
            "Requests answered with 503 because Redis was unavailable."
        )
        sample("roomcast_requests_unavailable_total", metrics.total(\.requestsUnavailable))
        counter("roomcast_handshakes_total", "Connections of clients accepted.")
        sample("roomcast_handshakes_total", metrics.total(ofAll: \.handshakes))
        counter("roomcast_transport_handshakes_total", "Connections of clients accepted, by transport.")
        samplesByTransport("roomcast_transport_handshakes_total", metrics) { $0.handshakes }
        counter("roomcast_handshakes_rejected_total", "Connections of clients refused, by reason.")
        for reason in RejectionReason.allCases {
            sample(
                "roomcast_handshakes_rejected_total", metrics.rejected(reason),
                [("reason", reason.description)])
        }
    }

    /// Uses the names of Prometheus' own client libraries, so that common dashboards find them.
    private mutating func writeProcess(_ state: NodeState) {
        gauge("process_start_time_seconds", "Unix time of the start, in seconds.")
        text += "process_start_time_seconds \(Double(state.startedAtUnixMilliseconds) / 1_000)\n"
        gauge("process_max_fds", "Most descriptors that the process may have open.")
        sample("process_max_fds", UInt64(DescriptorLimit.count))
        if let count = DescriptorLimit.openCount {
            gauge("process_open_fds", "Open descriptors.")
            sample("process_open_fds", UInt64(count))
        }
        counter("process_cpu_seconds_total", "User and system CPU time of all threads, in seconds.")
        text += "process_cpu_seconds_total \(ProcessUsage.ownCpuSeconds)\n"
        guard let usage = ProcessUsage.own() else { return }
        gauge("process_resident_memory_bytes", "Resident memory, shared pages included.")
        sample("process_resident_memory_bytes", UInt64(usage.residentBytes))
    }

    private mutating func gauge(_ name: String, _ help: String) { head(name, help, "gauge") }

    private mutating func counter(_ name: String, _ help: String) { head(name, help, "counter") }

    private mutating func head(_ name: String, _ help: String, _ type: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    private mutating func samplesByTransport(
        _ name: String, _ metrics: Metrics, _ counters: (WorkerMetrics) -> [Counter]
    ) {
        for transport in Transport.allCases {
            sample(
                name, metrics.total { counters($0)[transport.rawValue] },
                [("transport", transport.description)])
        }
    }

    /// Label values are node ids, versions and our own words: nothing in them needs escaping.
    private mutating func sample(_ name: String, _ value: UInt64, _ labels: [(String, String)] = []) {
        text += name
        if !labels.isEmpty {
            text += "{" + labels.map { "\($0)=\"\($1)\"" }.joined(separator: ",") + "}"
        }
        text += " \(value)\n"
    }
}
