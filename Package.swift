// swift-tools-version: 6.1
// The package has no dependency: libhiredis-dev and libevent-dev come from the system, for the trait `TLS`
// libssl-dev, and for `Compression` zlib1g-dev.
import PackageDescription

/// Warnings are errors. Dynamic exclusivity checks are off in release: the road of a message walks thousands
/// of class instances a turn, and loop confinement already gives each of them one accessor.
let settings: [SwiftSetting] = [
    .unsafeFlags(["-warnings-as-errors"]),
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

/// For TLS to Redis.
let openSSL = Target.Dependency.target(name: "COpenSSL", condition: .when(traits: ["TLS"]))

func library(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: settings)
}

let package = Package(
    name: "roomcast",
    products: [
        .executable(name: "gateway", targets: ["Gateway"]),
        .executable(name: "publisher", targets: ["Publisher"]),
        .executable(name: "loadtest", targets: ["LoadTest"]),
    ],
    traits: [
        .trait(name: "TLS", description: "TLS to Redis; needs libssl-dev"),
        .trait(
            name: "Compression",
            description: "permessage-deflate (RFC 7692) for WebSockets; needs zlib1g-dev"),
    ],
    targets: [
        .systemLibrary(name: "CLibevent", pkgConfig: "libevent_core", providers: [.apt(["libevent-dev"])]),
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),
        .systemLibrary(name: "CIoUring"),
        // Without pkg-config, which would ask for these also without their trait.
        .systemLibrary(name: "COpenSSL", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CZlib", providers: [.apt(["zlib1g-dev"])]),
        library("System"),
        library("EventLoop", ["System", "CLibevent", "CIoUring"]),
        library("Redis", ["System", "Bytes", "EventLoop", "Network", "CHiredis", openSSL]),
        library("Bytes"),
        library("JSON", ["Bytes"]),
        library("HTTP", ["Bytes"]),
        library(
            "WebSocket",
            ["Bytes", "HTTP", .target(name: "CZlib", condition: .when(traits: ["Compression"]))]),
        library("Network", ["Bytes"]),
        library("RedisSchema", ["Bytes", "JSON", "Redis"]),
        library("Options", ["System", "Bytes", "Network"]),
        library("RedisOptions", ["Options", "Redis"]),
        // A target of its own: its files become array literals, which need be compiled only when they
        // change.
        .target(name: "ConsolePage", resources: [.embedInCode("web")], swiftSettings: settings),
        .executableTarget(
            name: "Gateway",
            dependencies: [
                "System", "Bytes", "EventLoop", "Redis", "HTTP", "WebSocket", "JSON", "Network",
                "RedisSchema",
                "Options", "RedisOptions", "ConsolePage",
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "Publisher",
            dependencies: [
                "System", "Bytes", "EventLoop", "Redis", "JSON", "RedisSchema", "Options", "RedisOptions",
            ],
            swiftSettings: settings),
        .executableTarget(
            name: "LoadTest",
            dependencies: [
                "System", "Bytes", "EventLoop", "Redis", "HTTP", "WebSocket", "Network", "RedisSchema",
                "Options", "RedisOptions",
            ],
            swiftSettings: settings),
        .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
        .target(
            name: "TestSupport", dependencies: ["EventLoop", "Redis"], path: "Tests/TestSupport",
            swiftSettings: settings),
        .executableTarget(
            name: "EchoServer", dependencies: ["EventLoop", "HTTP", "WebSocket", "Network", "Options"],
            path: "Tests/EchoServer", swiftSettings: settings),
        .executableTarget(
            name: "RedisTrips", dependencies: ["System", "EventLoop", "Redis"], path: "Tests/RedisTrips",
            swiftSettings: settings),
        tests("SystemTests", ["System"]),
        tests("EventLoopTests", ["EventLoop", "TestSupport"]),
        tests("RedisTests", ["Redis", "TestSupport", openSSL]),
        tests("BytesTests", ["Bytes", "TestSupport"]),
        tests("JSONTests", ["JSON", "TestSupport"]),
        tests("HTTPTests", ["HTTP", "TestSupport"]),
        tests("WebSocketTests", ["WebSocket", "HTTP", "TestSupport"]),
        tests("NetworkTests", ["Network"]),
        tests("RedisSchemaTests", ["RedisSchema", "TestSupport"]),
        tests("OptionsTests", ["Options"]),
        tests("GatewayTests", ["Gateway", "ConsolePage", "TestSupport", "AllocationCounter"]),
        tests("PublisherTests", ["Publisher", "TestSupport"]),
        tests("LoadTestTests", ["LoadTest", "TestSupport"]),
        tests("EndToEndTests", [], exclude: ["Support"]),
    ],
    swiftLanguageModes: [.v6]
)
