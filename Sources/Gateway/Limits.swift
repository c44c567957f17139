// Every fixed limit of the gateway, with its reason. Limits that operators set are options
// (ConfigurationOptions.swift), and those of descriptors follow from the system's (ConnectionLimits.swift).

/// What is bounded by a number of ours rather than by an option. Bytes are of memory or of the wire, counts
/// of what the name says.
enum Limits {
    // MARK: A turn of a worker

    /// What one turn takes of the messages that wait, by their memory. What is beyond waits for the next
    /// turn, after the sockets had theirs; and no member that keeps up is taken for slow because of a burst.
    static let turnBytes = 256 * 1024
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

    // MARK: Memory of the node

    /// The messages that wait for a worker: bounds the node's memory if the worker cannot keep up.
    static let workerBacklogBytes = 64 << 20
    /// A worker whose messages are dropped gets messages again when it has so much left, so that what is
    /// missing is missing in one place, and its members are told of it seldom.
    static let workerBacklogResumingBytes = workerBacklogBytes / 2
    /// The messages that wait for the end of a gap; rooms come back in a fraction of a second.
    static let gapHoldBytes = 64 << 20
    /// Log lines that wait for their reader: more than a node writes while a healthy log collector pauses.
    static let pendingLogBytes = 256 * 1024
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

    // MARK: A client

    /// A body of a request that has no use for one: it is skipped, a longer one refused with 413.
    static let httpBodyBytes = 64 * 1024
    /// What one read of a request takes, and how much a peer may send ahead while a request waits for its
    /// answer.
    static let httpPipelinedBytes = 16 * 1024
    /// Answers for a peer that does not read: while so much waits, none of its requests is taken.
    static let httpWaitingAnswerBytes = 16 * 1024
    /// Rooms of a connection: the API serves two and ignores further ones.
    static let connectionRoomCount = 2
    /// Rooms to which a token can be bound: more than a client ever switches between.
    static let tokenRoomCount = 32
    /// Of all these rooms together with their commas: the record of a token stays small.
    static let tokenRoomsBytes = 1_024
    /// Names of fields that one preflight may ask for; pages that are traced send a handful.
    static let preflightHeadersBytes = 1_024
    /// Control frames that a client may send in the long run: a Ping every few seconds has a reason, a
    /// hundred a second has none, and is few enough to cost nothing.
    static let controlFramesPerSecond = 100
    /// Control frames at once, after a pause of the network.
    static let controlFrameBurstCount = 1_000
    /// The time for the peer's answer to a goodbye, and before that for its backlog.
    static let closeTimeout = Duration.seconds(5)

    // MARK: Redis

    /// Records that one batch makes true after an outage, so that a node with many members serves them
    /// meanwhile.
    static let confirmationBatchCount = 500
    /// The longest life of a record in seconds: that of `--token-ttl`.
    static let recordLifeSeconds: Int64 = 30 * 24 * 3600
    /// A message to the node: four times the longest that there is.
    static let controlMessageBytes = 256
    /// Rooms that one turn lists: some 50 µs of work, as long as the writes to a handful of members.
    static let roomSliceCount = 1_000
    /// Questions for all rooms that wait for the answer under way: more are dropped, and asked again.
    static let roomListWaitingCount = 4

    // MARK: The console

    /// A test notice: Redis and clients take more, a form in a browser need not.
    static let consoleBodyBytes = 64 * 1024
    /// Tokens of pages: more pages than people look at; the one that would end first makes room for the
    /// next.
    static let pageTokenCount = 1_000
    /// Addresses whose wrong keys are counted: some 200 KB; a flood from more of them forgets all.
    static let keyAttemptAddressCount = 4_096

    // MARK: How they hang together

    /// Stops a gateway whose limits contradict each other. Called once, at the start.
    static func check() {
        precondition(clientReadBytes <= readBufferBytes, "a client is read into the shared buffer")
        precondition(httpPipelinedBytes <= readBufferBytes, "a request is read into the shared buffer")
        precondition(
            mergedVectorCount <= 1_024 && backlogVectorCount <= 1_024, "Linux takes 1,024 vectors a call")
        precondition(backlogWriteBytes >= turnBytes, "a backlog drains no slower than turns fill it")
        precondition(
            workerBacklogResumingBytes < workerBacklogBytes, "a worker resumes below where it is cut off")
        precondition(gapHoldBytes <= workerBacklogBytes, "what a gap has held goes to a worker at once")
        precondition(turnBytes < workerBacklogResumingBytes, "a backlog is taken in more than one turn")
        precondition(workerCount <= RoomSubscriptions.Workers.bitWidth, "a set of workers is one word")
        precondition(handoverCount <= adminConnectionCount, "a handover begins at the admin listener")
        precondition(controlFrameBurstCount >= controlFramesPerSecond, "a burst holds a second's frames")
        precondition(connectionRoomCount <= tokenRoomCount, "a bound token serves a whole connection")
    }
}
