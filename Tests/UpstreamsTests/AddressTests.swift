// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import Upstreams

@Suite("References to addresses") struct AddressTests {
    @Test(
        "references are resolved as RFC 3986 has it",
        arguments: [
            ("http://h/a/sse", "?session_id=x", "/a/sse?session_id=x"), ("http://h/a/sse", "./m", "/a/m"),
            ("http://h/a/b/sse", "../m", "/a/m"), ("http://h/sse", "HTTP://h/m", "/m"),
        ])
    func relative(_ base: String, _ reference: String, _ target: String) throws {
        #expect(try UpstreamAddress(base).resolving(reference)?.target == target)
    }

    @Test("an address of another scheme is on no server of ours", arguments: ["ftp://h/m", "file:///m", "data:x"])
    func otherScheme(_ reference: String) throws {
        #expect(try UpstreamAddress("http://h/sse").resolving(reference) == nil)
    }
}
