// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

@testable import Telemetry

@Suite("Traces")
struct TracingTests {
    /// A clock that stands where it is put.
    final class Clock: TimeSource, Sendable {
        let at: Moment
        init(_ seconds: UInt64) { at = Moment(nanoseconds: seconds * 1_000_000_000) }
        func now() -> Moment { at }
        func wallMilliseconds() -> Int64 { 1_700_000_000_000 }
    }

    private func tracer(_ ratio: Double?, _ metrics: MetricsRegistry = MetricsRegistry()) -> Tracer {
        let tracer = Tracer(time: Clock(5), metrics: metrics)
        tracer.change(ratio: ratio)
        return tracer
    }

    private func parent(_ isSampled: Bool) -> TraceContext {
        TraceContext(traceID: (1, 2), spanID: 3, isSampled: isSampled, state: "v=1")
    }

    @Test("without a collector nothing is recorded, whoever asks for it")
    func off() {
        let tracer = tracer(nil)
        #expect(tracer.begin("a", .server, under: nil) == nil)
        #expect(tracer.begin("a", .server, under: parent(true)) == nil)
        #expect(tracer.begin("a", .client, within: parent(true)) == nil)
    }

    @Test("whoever began a trace decides; of new ones the ratio does")
    func decides() {
        #expect(tracer(0).begin("a", .server, under: nil) == nil)
        #expect(tracer(0).begin("a", .server, under: parent(true)) != nil)
        #expect(tracer(1).begin("a", .server, under: parent(false)) == nil)
        #expect(tracer(1).begin("a", .client, within: parent(false)) == nil)
        #expect(tracer(1).begin("a", .client, within: nil) == nil, "nothing begins in the middle")
        let half = tracer(0.5)
        let count = (0..<2_000).count { _ in half.begin("a", .server, under: nil) != nil }
        #expect((800...1_200).contains(count))
    }

    @Test("a child keeps the trace and the vendors' state, and has an id of its own")
    func child() throws {
        let span = try #require(tracer(1).begin("a", .server, under: parent(true)))
        #expect(span.context.traceID == (1, 2))
        #expect(span.context.spanID != 3 && span.context.spanID != 0)
        #expect(span.context.state == "v=1" && span.parent == 3)
    }

    @Test("what nobody fetches is dropped and counted, and what is fetched comes in order")
    func bounded() throws {
        let metrics = MetricsRegistry()
        let tracer = tracer(1, metrics)
        for number in 0..<(Tracer.waitingMax + 10) {
            tracer.end(tracer.begin("\(number)", .server, under: nil))
        }
        #expect(tracer.waiting == Tracer.waitingMax)
        #expect(String(decoding: metrics.render(), as: UTF8.self).contains("mcp_spans_dropped_total 10\n"))
        #expect(tracer.take(2).map(\.notes.name) == ["0", "1"])
        #expect(tracer.waiting == Tracer.waitingMax - 2)
        tracer.change(ratio: nil)
        #expect(tracer.waiting == 0, "who wants no traces any more gets none")
    }

    @Test("a name cannot leave its place in the text, and facts have a bound")
    func text() throws {
        let tracer = tracer(1)
        let span = try #require(tracer.begin("a\"b\\c\nd", .client, under: parent(true)))
        for number in 0..<40 { span.note("k\(number)", .number(number)) }
        span.failed("bad_answer", "it said \"no\"")
        tracer.end(span)
        let text = String(
            decoding: OTLPText(version: "1", instance: "i").request(tracer.take(10)), as: UTF8.self)
        #expect(text.contains(#""name":"a\"b\\c d","kind":3"#))
        #expect(text.contains(#""parentSpanId":"0000000000000003","traceState":"v=1""#))
        #expect(text.contains(#""startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000000000000""#))
        #expect(text.contains(#"{"key":"k31","value":{"intValue":"31"}}"#) && !text.contains("k32"))
        #expect(text.contains(#""status":{"code":2,"message":"it said \"no\""}"#))
        #expect(text.contains(#"{"key":"service.name","value":{"stringValue":"mcp-gateway"}}"#))
    }
}
