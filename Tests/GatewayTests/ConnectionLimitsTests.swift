import Options
import Testing

@testable import Gateway

@Suite struct ConnectionLimitsTests {
    @Test(arguments: [100, 1_024, 20_000, 1_048_576, Int.max])
    func connectionsAndReserveFitTheDescriptors(descriptors: Int) throws {
        let limits = try ConnectionLimits(configuration(), descriptors: descriptors)
        #expect(limits.descriptors == descriptors)
        #expect(limits.clients >= 1)
        #expect(limits.httpConnections >= 16)
        // For the rest stay 36, 24 of the admin listener, and 10 for each of two workers.
        #expect(limits.clients + limits.httpConnections == descriptors - 80)
    }

    @Test func mostOfTheDescriptorsAreForClients() throws {
        #expect(try ConnectionLimits(configuration(), descriptors: 20_000).clients == 18_000)
        #expect(try ConnectionLimits(configuration(), descriptors: 1_024).clients == 921)
    }

    @Test(arguments: [1, 2, 8, 64])
    func everyWorkerHasPlacesForRequests(workers: Int) throws {
        let limits = try ConnectionLimits(configuration(["--workers", "\(workers)"]), descriptors: 1_024)
        #expect(limits.httpConnections / workers >= 4)
    }

    @Test func askedForNumberIsTaken() throws {
        let limits = try ConnectionLimits(
            configuration(["--maximum-connections", "7"]), descriptors: 20_000)
        #expect(limits.clients == 7)
        #expect(limits.httpConnections == 20_000 - 80 - 7)
    }

    @Test func moreThanTheDescriptorsAllowIsRefused() throws {
        let most = 1_024 - 80 - 16
        let fits = try configuration(["--maximum-connections", "\(most)"])
        #expect(try ConnectionLimits(fits, descriptors: 1_024).clients == most)
        let over = try configuration(["--maximum-connections", "\(most + 1)"])
        let error = #expect(throws: UsageError.self) { try ConnectionLimits(over, descriptors: 1_024) }
        #expect(error?.description.contains("--maximum-connections: \(most + 1)") == true)
        #expect(error?.description.contains("at most \(most)") == true)
    }

    @Test(arguments: [0, 1, 95, 96])
    func tooFewDescriptorsForAnyClientAreRefused(descriptors: Int) throws {
        let configuration = try configuration()
        #expect(throws: UsageError.self) { try ConnectionLimits(configuration, descriptors: descriptors) }
    }
}
