// Every fixed limit of the gateway, with its reason. Limits that operators set are options
// (ConfigurationOptions.swift), and those of descriptors follow from the system's (ConnectionLimits.swift).

import RedisSchema
import Redis

/// What is bounded by a number of ours rather than by an option. Bytes are of memory or of the wire, counts
/// of what the name says, times are how long something waits or how often it happens.
enum Limits {
    // MARK: A turn of a worker

    /// What one turn takes of the messages that wait, by their memory. What is beyond waits for the next
    /// turn, after the sockets had theirs. It is large because a turn writes once to each member of its rooms,
    /// however many messages it has for a room: under load this is what makes writes seldom.
    static let turnBytes = 4 << 20
    /// What one turn takes over from other threads: as many of the smallest messages as it may have.
    static let turnMessageCount = turnBytes / SharedBytes.overheadBytes
    /// What one turn takes for one room: no member that keeps up is taken for slow because of a burst.
    static let turnRoomBytes = 128 * 1024
    /// What one read of a client takes, so that one that sends without end has its share of a turn and not
    /// the whole.
    static let clientReadBytes = 16 * 1024
    /// What any read takes at once. The buffer is shared: what is not used up is kept by its connection.
    static let readBufferBytes = 64 * 1024
    /// What one write of a backlog moves, so that a member with a long backlog and a large window has its
    /// share of a turn.
    static let backlogWriteBytes = 256 * 1024
    /// Frames of one write of a backlog: more bring nothing.
    static let backlogVectorCount = 64
    /// Messages of one write to a member of two rooms: what Linux takes in one call (UIO_MAXIOV).
    static let mergedVectorCount = 1_024
    /// Deadlines that one turn acts on: those that come for everyone at once, as after an outage, are
    /// spread.
    static let deadlineBatchCount = 1_024
    /// The precision of deadlines: fine against the 2 s that a missed heartbeat may take to be acted on.
    static let deadlineTick = Duration.milliseconds(100)
    /// Between two slices of a long walk through rooms or members, so that messages leave between them.
    static let slicePause = Duration.milliseconds(1)

    /// A larger payload goes as it is: to compress it would take the feed from other messages for some
    /// twenty milliseconds.
    static let compressedPayloadBytes = 1 << 20

    // MARK: Memory of the node

    /// The messages that wait for a worker: bounds the node's memory if the worker cannot keep up.
    static let workerBacklogBytes = 64 << 20
    /// A worker whose messages are dropped gets messages again when it has so much left, so that what is
    /// missing is missing in one place, and its members hear of it seldom.
    static let workerBacklogResumingBytes = workerBacklogBytes / 2
    /// The messages that wait for the end of a gap; rooms come back in a fraction of a second.
    static let gapHoldBytes = 64 << 20
    /// Addresses whose rates are remembered, of one generation: some 3 MB for both, which a flood from a
    /// whole IPv6 allocation does not pass.
    static let rateAddressCount = 32_768

    // MARK: A node

    /// Workers: a set of them is one word.
    static let workerCount = 64
    /// Connections of the admin listener: probes, scrapers and a few open pages of the console, with six
    /// each.
    static let adminConnectionCount = 24
    /// Connections on their way from the admin listener to a worker.
    static let handoverCount = 4
    /// Connections that are asked, for one place, whether a request has just come.
    static let placeAttemptCount = 8
    /// A loop shows this often that it turns.
    static let loopPulseInterval = Duration.seconds(1)
    /// A loop that has not turned for this long hangs. A turn takes milliseconds, even under the heaviest
    /// load.
    static let loopPatience = Duration.seconds(5)
    /// A bucket of a rate is full after this time without use.
    static let rateBurstTime = Duration.seconds(1)
    /// The longest time before a refused client may come back: with a longer one people would take their
    /// client for lost.
    static let longestAbsence = Duration.seconds(30)
    /// Files about control groups and mounts; longer ones are cut off.
    static let controlGroupFileBytes = 256 * 1024
    /// The deepest control group that is walked up.
    static let controlGroupDepth = 64

    // MARK: Start, drain and log

    /// A node without Redis counts as started after this time all the same: it answers (503), it needs no
    /// restart when Redis comes, and units that wait for its start must not wait for another machine.
    static let serviceStartPatience = Duration.seconds(10)
    /// The pause before the states that a service manager's full queue did not take are sent again.
    static let serviceRetryPause = Duration.milliseconds(100)
    /// Between two slices of the members that a drain closes: with fifty in a second a stream of them is
    /// even.
    static let drainSliceInterval = Duration.milliseconds(50)
    /// Opted-in members of an overloaded worker that one slice closes: 2,000 in a second, whose return takes
    /// a quarter of a core.
    static let dismissalSliceCount = 100
    /// After the last slice of a drain, the node waits this long for closing handshakes and open requests.
    static let drainGrace = closeTimeout + .seconds(1)
    /// Log lines that wait for their reader: more than a node writes while a healthy log collector pauses.
    static let pendingLogBytes = 256 * 1024
    /// Characters of a value in a log line: a message of Redis may have any length.
    static let logValueCharacterCount = 2000
    /// Unknown environment variables that a node warns of; more lines would say nothing new.
    static let unknownVariableCount = 20
    /// Between two lines about what a stranger can trigger.
    static let repeatedLogInterval = Duration.seconds(1)
    /// A refusal of Redis is logged again if the last one of its kind was this long ago.
    static let refusalMemory = Duration.seconds(60)
    /// The end of the process waits this long for the reader of the log.
    static let logFlushTime = Duration.seconds(1)
    /// As much at a second signal, which asks for an end at once.
    static let hastyLogFlushTime = Duration.milliseconds(100)

    // MARK: A client

    /// A body of a request that has no use for one: it is skipped, a longer one refused with 413.
    static let httpBodyBytes = 64 * 1024
    /// What one read of a request takes, and how much a peer may send ahead while a request waits for its
    /// answer.
    static let httpPipelinedBytes = 16 * 1024
    /// Answers for a peer that does not read: while so much waits, none of its requests is taken.
    static let httpWaitingAnswerBytes = 16 * 1024
    /// The detail of a refusal, for the author of a client.
    static let answerDetailBytes = 256
    /// A connection stays this long behind its last answer, so that the peer reads it before a reset.
    static let lingerTime = Duration.seconds(2)
    /// When places are short, a peer has so long to bring its request, or to take its answer: a round trip
    /// around the world. A crowd that brings none delays others by no more than this for each set of places.
    static let unsettledTime = Duration.milliseconds(500)
    /// Rooms of a connection: the API serves two and ignores further ones.
    static let connectionRoomCount = 2
    /// Rooms to which a token can be bound: more than a client ever switches between.
    static let tokenRoomCount = 32
    /// Of all these rooms together with their commas: the record of a token stays small.
    static let tokenRoomsBytes = 1_024
    /// Names of fields that one preflight may ask for; pages that are traced send a handful.
    static let preflightHeadersBytes = 1_024
    /// Control frames and compressed messages that a client may send in the long run: a Ping every few
    /// seconds has a reason, a hundred a second has none, and is few enough to cost nothing.
    static let controlFramesPerSecond = 100
    /// Control frames at once, after a pause of the network.
    static let controlFrameBurstCount = 1_000
    /// The time for the peer's answer to a goodbye, and before that for its backlog.
    static let closeTimeout = Duration.seconds(5)
    /// With `--heartbeat pong`, the time that the answer to a Ping has at least before the heartbeat's
    /// timeout.
    static let pingAnswerTime = Duration.seconds(2)
    static let shortestPingInterval = Duration.seconds(1)
    /// A token lives at least this much longer than the heartbeat's timeout, so that a slow beat ends with
    /// 4000 and not with a token error.
    static let tokenLifeMargin = Duration.seconds(5)

    /// A client of an event stream whose node goes away comes back within this time, at random, so that not
    /// all of them come at once.
    static let eventStreamRetry = Duration.milliseconds(500)...Duration.milliseconds(2_500)
    /// One that is not to come back by itself: the longest time that fits 32 bits of milliseconds, 24 days.
    static let eventStreamAbsence = Duration.milliseconds(Int32.max)

    // MARK: Redis

    /// The longest time that a request may wait for Redis (`--redis-timeout`): what the API document allows.
    static let longestRedisTimeout = Duration.seconds(2)
    /// The shortest one: a round trip to Redis with a pause of its machine.
    static let shortestRedisTimeout = Duration.milliseconds(50)
    /// Heartbeats that come within this time leave for Redis in one write, which is most of what one costs there:
    /// with 500 a second five share it. Their answers, which no client needs at once, come as much later.
    static let renewalPause = Duration.milliseconds(10)
    /// As many leave at once: Redis reads them in one piece, and more would save little.
    static let renewalBatchCount = 32
    /// Rooms without members are looked through this often: well under the order of the grace time.
    static let idleRoomInterval = Duration.seconds(1)
    /// Records that one batch makes true after an outage, so that a node with many members serves them
    /// in between.
    static let confirmationBatchCount = 500
    /// Records that one command looks for: some 16 KB, and a tenth of a millisecond of Redis' time.
    static let presenceBatchCount = 500
    /// Before a worker asks Redis again for what it has refused: it may be out of memory until records
    /// expire.
    static let confirmationRetryPause = Duration.seconds(1)
    /// A worker waits this long for the feed's connection, which a restart of Redis ends as well, before it
    /// confirms its records: it does so again once the node's channel is heard.
    static let subscriberPatience = Duration.seconds(2)
    /// When Redis has come back without its data, an unknown token proves nothing for this long: the nodes
    /// that hold the live clients have to notice the return and write their records again.
    static let settlingTime = Duration.seconds(5)
    /// When a server stops being a master, its shard is kept for this long, because answers may still come. No command
    /// waits nearly as long.
    static let retiredShardTime = Duration.seconds(600)
    /// A worker tries this often whether Redis takes writes, as often as nodes report; more often if the silence
    /// timeout is short, as a server that was demoted is left within that.
    static let writeCheckInterval = Duration.seconds(2)
    /// A Redis at the edge of its memory refuses and takes by turns: it counts as well when it has refused
    /// nothing for this long.
    static let steadyWritesTime = Duration.seconds(2)
    /// A worker looks this often whether Redis has lost records: well before unknown tokens count again.
    static let lossCheckInterval = Duration.seconds(2)
    /// How often a node asks a cluster for the epochs and the ends of some histories: of all rooms within half a
    /// minute, or of 500 a second, each some 5 µs of its master.
    static let historyCheckInterval = Duration.milliseconds(500)
    /// And no more often than this, however many unknown tokens come.
    static let lossCheckPause = Duration.milliseconds(100)
    /// Between two attempts to bring a node's connections to one server, at most: each costs a gap.
    static let agreementPause = Duration.seconds(600)
    /// Subscribers log in with a new password within this time, each at its own moment: it is a gap of the node.
    static let passwordSpread = Duration.seconds(5)
    /// Between two reports of one kind of refusal to the control loop.
    static let refusalReportInterval = Duration.seconds(1)
    /// What is shown of an error of Redis.
    static let refusalTextBytes = 160
    /// The longest life of a record in seconds: that of `--token-ttl`.
    static let recordLifeSeconds: Int64 = 30 * 24 * 3600
    /// A message to the node: four times the longest that there is.
    static let controlMessageBytes = 256
    /// Rooms that one turn lists: some 50 µs of work, as long as the writes to a handful of members.
    static let roomSliceCount = 1_000
    /// Questions for all rooms that wait for the answer under way: more are dropped, and asked again.
    static let roomListWaitingCount = 4
    /// Reports of a node between two looks for the ids of nodes that are gone: once a minute.
    static let nodeSweepPeriod = 30

    // MARK: The console

    /// A test notice: Redis and clients take more, a form in a browser need not.
    static let consoleBodyBytes = 64 * 1024
    /// Rooms whose histories the console looks up: those that its page lists.
    static let consoleHistoryCount = 12
    /// A request to publish: the largest durable notice and the longest names of rooms.
    static let publishBodyBytes = 128 * 1024
    /// Rooms that one request publishes to: they leave in one write.
    static let publishRoomCount = 100
    /// Tokens of pages: more pages than people look at; the one that would end first makes room for the
    /// next.
    static let pageTokenCount = 1_000
    /// The token of a page lives this much longer than the heartbeat's timeout.
    static let pageTokenLateness = Duration.seconds(5)
    /// A request of the console may wait this long beside `--redis-timeout`: its link connects first.
    static let consoleConnectTime = Duration.seconds(4)
    /// The link stays this long after the last command: several times as long as an open page waits.
    static let consoleIdleTime = Duration.seconds(30)
    /// The reports of all nodes are kept for this long, so that many open pages cost what one does.
    static let clusterFreshness = Duration.seconds(1)
    /// Addresses whose wrong keys are counted: some 200 KB; a flood from more of them forgets all.
    static let keyAttemptAddressCount = 4_096
    /// An address without a wrong key for this long has all its attempts back.
    static let keyBurstTime = Duration.seconds(5)
    /// The cost of a wrong key.
    static let keyAttemptStep = Duration.seconds(1)

    // MARK: How they hang together

    /// What must be true of two limits or more, and why.
    typealias Relation = (holds: Bool, reason: String)

    static let relations = turnRelations + timeRelations + countRelations

    private static let turnRelations: [Relation] = [
        (clientReadBytes <= readBufferBytes, "a client is read into the shared buffer"),
        (httpPipelinedBytes <= readBufferBytes, "a request is read into the shared buffer"),
        (
            max(mergedVectorCount, backlogVectorCount) <= 1_024, "Linux takes 1,024 vectors a call"
        ),
        (
            backlogWriteBytes >= connectionRoomCount * turnRoomBytes,
            "a backlog drains no slower than turns fill it"
        ),
        (workerBacklogResumingBytes < workerBacklogBytes, "a worker resumes below its bound"),
        (gapHoldBytes <= workerBacklogBytes, "what a gap has held goes to a worker at once"),
        (turnBytes < workerBacklogResumingBytes, "a backlog is taken in more than one turn"),
    ]

    private static let timeRelations: [Relation] = [
        (loopPulseInterval < loopPatience, "a loop shows that it turns before it counts as hung"),
        (deadlineTick < lingerTime, "the wheel can measure the shortest deadline"),
        (deadlineTick * 4 < pingAnswerTime, "late deadlines leave time for an answer"),
        (closeTimeout < drainGrace, "a drain outlives the last closing handshake"),
        (lossCheckInterval < settlingTime, "every node has noticed a loss before unknown tokens count"),
        (subscriberPatience < settlingTime, "records are written before unknown tokens count"),
        (
            ReconnectBackoff.longestWait + RedisConnection.connectTime < settlingTime,
            "a node is back before unknown tokens count"
        ),
        (renewalPause * 4 < shortestRedisTimeout, "a heartbeat that has waited has its time for an answer"),
        (RedisConnection.connectTime < consoleConnectTime, "the console's link fails first"),
        (
            longestRedisTimeout + consoleConnectTime < consoleIdleTime,
            "the console's link outlives its commands"
        ),
        (clusterFreshness < NodeReport.interval, "the console shows each report"),
        (keyAttemptStep <= keyBurstTime, "a full bucket holds an attempt"),
    ]

    private static let countRelations: [Relation] = [
        (workerCount <= RoomSubscriptions.Workers.bitWidth, "a set of workers is one word"),
        (workerCount <= NodeReport.maximumWorkerCount, "a report holds every worker's rooms"),
        (handoverCount <= adminConnectionCount, "a handover begins at the admin listener"),
        (
            ConnectionLimits.ownCount + handoverCount <= ConnectionLimits.reservedCount,
            "handovers have descriptors"
        ),
        (controlFrameBurstCount >= controlFramesPerSecond, "a burst holds a second's frames"),
        (connectionRoomCount <= tokenRoomCount, "a bound token serves a whole connection"),
        (
            consoleHistoryCount <= RoomHistoryReader.maximumRoomCount,
            "the console's look at histories is bounded"
        ),
        (consoleBodyBytes <= httpBodyBytes, "the console's bodies are read at all"),
        (
            DurableNotice.maximumBytes + publishRoomCount * (RoomId.maximumBytes + 3) <= publishBodyBytes,
            "the largest durable notice can be published to as many rooms as may be"
        ),
    ]

    /// Stops a gateway whose limits contradict each other. Called once, at the start.
    static func check(_ relations: [Relation] = Limits.relations) {
        for relation in relations { precondition(relation.holds, relation.reason) }
    }
}
