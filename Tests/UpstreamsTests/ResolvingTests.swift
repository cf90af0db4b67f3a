// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import Upstreams

/// Addresses that a server names itself (the old HTTP+SSE transport): never those of another server.
@Suite("Resolving addresses") struct ResolvingTests {
    static let followed: [(String, String, String)] = [
        ("http://h/sse", "/messages?session_id=x", "/messages?session_id=x"), ("http://h/sse", "messages", "/messages"),
        ("http://h/a/sse", "messages", "/a/messages"), ("http://h/a/sse?key=/1/", "messages?s=/2", "/a/messages?s=/2"),
        ("http://h/a/", "m", "/a/m"), ("http://h", "m", "/m"), ("http://h/sse", "/", "/"),
        ("http://h/sse", " /m\t", "/m"), ("http://h/sse", "/m#part", "/m"), ("http://h/sse", "http://h/m", "/m"),
        ("http://h/sse", "http://h:80/m?q#f", "/m?q"), ("http://h:8080/sse", "http://h:8080", "/"),
        ("https://h/sse", "https://h/m", "/m"), ("https://h/sse", "https://h:443/m", "/m"),
        ("http://[::1]:9/sse", "http://[::1]:9/m", "/m"), ("http://h/sse", "/m/%20?a=%2F", "/m/%20?a=%2F"),
        ("http://h/sse", "/http://elsewhere/", "/http://elsewhere/"),
    ]

    @Test("A path, or an address of the same server, is followed there", arguments: followed)
    func follows(_ base: String, _ reference: String, _ target: String) throws {
        let address = try UpstreamAddress(base)
        let found = try #require(address.resolving(reference))
        #expect(found.target == target)
        #expect((found.host, found.port, found.isSecure) == (address.host, address.port, address.isSecure))
    }

    @Test(
        "What leads elsewhere, or nowhere, is not followed",
        arguments: [
            "http://other/m", "http://h:81/m", "https://h/m", "http://h.evil.example/m", "http://h@evil.example/m",
            "http://evil.example/h", "//evil.example/m", "//h/m", "", " ", "\t", "/m\r\nx: y", "/m n", "/\u{e9}",
            "/m\u{0}",
            "/\u{7f}", "http://h:0/m", "http://", "http:///m", "m\nn",
        ])
    func refuses(_ reference: String) throws {
        #expect(try UpstreamAddress("http://h/sse").resolving(reference) == nil)
    }

    @Test(
        "Another port, host or scheme is another server",
        arguments: [
            ("http://h:8080/sse", "http://h/m"), ("http://h/sse", "http://h:8080/m"),
            ("https://h/sse", "http://h:443/m"),
            ("http://h:443/sse", "https://h:443/m"), ("http://[::1]/sse", "http://[::2]/m"),
            ("http://127.0.0.1/sse", "http://localhost/m"),
        ])
    func otherServers(_ base: String, _ reference: String) throws {
        #expect(try UpstreamAddress(base).resolving(reference) == nil)
    }
}
