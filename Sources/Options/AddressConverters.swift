// Addresses as options. Pure values, any thread.

import Network

/// `HOST:PORT` as an option.
package struct EndpointConverter: OptionConverter {
    package init() {}

    package var expected: String { "HOST:PORT (0.0.0.0:8080, [::]:8080, name:8080; port 0 to 65535)" }

    package func value(of text: String) -> Endpoint? { Endpoint(text) }
}

/// Where to listen, as an option: an endpoint, or a port of all addresses.
package struct ListenConverter: OptionConverter {
    package init() {}

    package var expected: String {
        "HOST:PORT or :PORT (0.0.0.0:8080, [::]:8080, name:8080, :8080; port 0 to 65535)"
    }

    package func value(of text: String) -> Endpoint? { Endpoint(text) ?? Endpoint(allAddresses: text) }
}

/// A CIDR block as an option.
package struct CidrConverter: OptionConverter {
    package init() {}

    package var expected: String { "an address or a CIDR block (10.0.0.0/8, 192.0.2.1, 2001:db8::/32)" }

    package func value(of text: String) -> CidrBlock? { CidrBlock(text) }
}
