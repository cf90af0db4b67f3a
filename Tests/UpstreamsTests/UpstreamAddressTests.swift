// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import Upstreams

/// Addresses as operators write them.
@Suite("Upstream addresses") struct UpstreamAddressTests {
    struct Good: Sendable, CustomTestStringConvertible {
        let url: String
        let isSecure: Bool
        let host: String
        let port: Int
        let target: String
        let authority: String
        var testDescription: String { url }

        init(_ url: String, _ isSecure: Bool, _ host: String, _ port: Int, _ target: String, _ authority: String) {
            (self.url, self.isSecure, self.host) = (url, isSecure, host)
            (self.port, self.target, self.authority) = (port, target, authority)
        }
    }

    static let good: [Good] = [
        Good("http://localhost:8080/mcp", false, "localhost", 8080, "/mcp", "localhost:8080"),
        Good("http://example.com", false, "example.com", 80, "/", "example.com"),
        Good("https://example.com", true, "example.com", 443, "/", "example.com"),
        Good("https://example.com:443/a", true, "example.com", 443, "/a", "example.com"),
        Good("https://example.com:80/", true, "example.com", 80, "/", "example.com:80"),
        Good("http://[::1]:9000/x?y=z#part", false, "::1", 9000, "/x?y=z", "[::1]:9000"),
        Good("http://[fe80::1%eth0]/", false, "fe80::1%eth0", 80, "/", "[fe80::1%eth0]"),
        Good("http://127.0.0.1?key=1", false, "127.0.0.1", 80, "/?key=1", "127.0.0.1"),
        Good("http://host_1.local/a/b%20c", false, "host_1.local", 80, "/a/b%20c", "host_1.local"),
        Good("http://h:65535/", false, "h", 65_535, "/", "h:65535"),
    ]

    @Test("An address is taken apart", arguments: good)
    func takenApart(_ one: Good) throws {
        let address = try UpstreamAddress(one.url)
        #expect(address.isSecure == one.isSecure)
        #expect(address.host == one.host)
        #expect(address.port == one.port)
        #expect(address.target == one.target)
        #expect(address.authority == one.authority)
    }

    @Test(
        "An address that cannot work is refused in words",
        arguments: [
            ("ftp://a/", "must begin with http"), ("localhost:80", "must begin with http"),
            ("", "must begin with http"),
            ("http://user:secret@host/", "no user name"), ("http://host:0/", "port"), ("http://host:65536/", "port"),
            ("http://host:/", "port"), ("http://host:x/", "port"), ("http://", "no usable host"),
            ("http:///mcp", "no usable host"),
            ("http://ho st/", "no usable host"), ("http://host/a b", "percent-encoded"),
            ("http://host/\r\nx: y", "percent-encoded"),
            ("http://host/\u{e9}", "percent-encoded"), ("http://h\u{f6}st/", "no usable host"),
            ("http://[::1/", "host"),
            ("http://h\r\nx/", "no usable host"),
        ])
    func refused(_ url: String, _ words: String) {
        do {
            let address = try UpstreamAddress(url)
            Issue.record("\(url) was taken as \(address)")
        } catch {
            #expect(error.words.contains(words) || words == "host", "\(error.words)")
            #expect(!error.words.contains("secret"))
        }
    }

    @Test("Pauses grow to their limit, with a little chance")
    func pauses() {
        var cadence = Cadence()
        cadence.pauseMax = .seconds(5)
        let expected: [Int: Duration] = [
            1: .milliseconds(500), 2: .seconds(1), 3: .seconds(2), 4: .seconds(4), 5: .seconds(5), 6: .seconds(5),
            7: .seconds(5), 1_000: .seconds(5), Int.max: .seconds(5),
        ]
        for (failures, least) in expected {
            for _ in 0..<50 {
                let pause = cadence.pause(after: failures)
                #expect(pause >= least && pause <= least * 1.25, "after \(failures)")
            }
        }
        #expect(Set((0..<50).map { _ in cadence.pause(after: 1) }).count > 1)
    }
}
