// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

@Suite struct TraceContextTests {
    static let trace = "0af7651916cd43dd8448eb211c80319c"
    static let span = "b7ad6b7169203331"

    @Test(arguments: ["00", "01"])
    func `what is written is what was read`(_ flags: String) throws {
        let text = "00-\(Self.trace)-\(Self.span)-\(flags)"
        let context = try #require(TraceContext(parent: text.utf8))
        #expect(context.parent == text)
        #expect(context.traceText == Self.trace)
        #expect(context.isSampled == (flags == "01"))
    }

    @Test func `flags and versions to come are read as far as they are known`() throws {
        let later = try #require(TraceContext(parent: "cc-\(Self.trace)-\(Self.span)-09-what-comes".utf8))
        #expect(later.isSampled)
        #expect(later.parent == "00-\(Self.trace)-\(Self.span)-01")
        #expect(TraceContext(parent: "cc-\(Self.trace)-\(Self.span)-01".utf8) != nil)
        #expect(TraceContext(parent: "cc-\(Self.trace)-\(Self.span)-01x".utf8) == nil)
    }

    @Test(arguments: [
        "", "00", "00-", "ff-\(trace)-\(span)-01", "00-\(trace)-\(span)-01-", "00-\(trace)-\(span)-01 ",
        "00-\(trace)-\(span)", "00-\(trace.uppercased())-\(span)-01", "0-\(trace)-\(span)-01",
        "00-\(String(repeating: "0", count: 32))-\(span)-01", "00-\(trace)-\(String(repeating: "0", count: 16))-01",
        "00_\(trace)_\(span)_01", "00-\(trace.dropLast())g-\(span)-01", String(repeating: "0", count: 5_000),
    ])
    func `anything else is no context`(_ text: String) {
        #expect(TraceContext(parent: text.utf8) == nil)
    }

    @Test func `the state of vendors goes along only where it can stand`() throws {
        func state(_ text: String) -> String? {
            TraceContext(parent: "00-\(Self.trace)-\(Self.span)-01".utf8, state: text)?.state
        }
        #expect(state("a=1,b=2") == "a=1,b=2")
        #expect(state("a=\"x\\\"") == "a=\"x\\\"")
        #expect(state(" a=1 ,\t,,b=2, =,c=,=d,e") == "a=1,b=2", "what is no entry is left out")
        for bad in ["", "=,,,;", "a=\u{1}", "a=é", "a=1\r\nx: y", "a=" + String(repeating: "a", count: 511)] {
            #expect(state(bad) == nil, "\(bad)")
        }
        let long = "a=" + String(repeating: "a", count: 510)
        #expect(state(long) == long)
        #expect(state((0..<40).map { "v\($0)=1" }.joined(separator: ","))?.split(separator: ",").count == 32)
        let many = (0..<30).map { "vendor\($0)=\(String(repeating: "1", count: 20))" }
        let kept = try #require(state(many.joined(separator: ",")))
        #expect(kept.utf8.count <= 512 && kept.utf8.count > 480)
        #expect(many.joined(separator: ",").hasPrefix(kept + ","), "the first entries, whole")
    }

    @Test func `small numbers have all their digits`() {
        let context = TraceContext(traceID: (0, 1), spanID: 255, isSampled: false)
        #expect(context.parent == "00-00000000000000000000000000000001-00000000000000ff-00")
    }
}
