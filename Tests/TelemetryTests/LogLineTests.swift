// Licensed under the Apache License 2.0; see LICENSE.

import Logging
import Synchronization
import Testing

@testable import Telemetry

@Suite("Log lines")
struct LogLineTests {
    private func line(
        _ message: String = "tool called", _ facts: [(key: String, value: String)] = [], requestID: String? = nil,
        level: Logger.Level = .info
    ) -> LogLine {
        LogLine(
            milliseconds: 1_795_458_001_123, level: level, component: "gateway", message: message, facts: facts,
            requestID: requestID)
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test("a line reads: time, level, component, message, facts, request id")
    func plain() {
        let line = line(facts: [("tool", "echo"), ("detail", "two words"), ("empty", "")])
        #expect(
            text(line.text()) == "2026-11-23 18:20:01.123Z info  gateway: tool called tool=echo "
                + "detail=\"two words\" empty=\"\" request_id=00ff\n")
    }

    private func line(facts: [(key: String, value: String)]) -> LogLine {
        line("tool called", facts, requestID: "00ff")
    }

    @Test("JSON has the same facts")
    func json() {
        #expect(
            text(line(facts: [("tool", "a\"b")]).json())
                == "{\"timestamp\":\"2026-11-23 18:20:01.123Z\",\"level\":\"info\",\"component\":\"gateway\","
                + "\"message\":\"tool called\",\"tool\":\"a\\\"b\",\"request_id\":\"00ff\"}\n")
    }

    @Test(
        "nothing from outside forges a line or reaches the terminal",
        arguments: [
            ("a\nb", "a\\nb"), ("a\r\nb", "a\\r\\nb"), ("\u{1b}[31mred", "\\u001b[31mred"), ("a\u{0}b", "a\\u0000b"),
            ("a\u{85}b", "a\\u0085b"), ("a\u{9b}b", "a\\u009bb"), ("a\u{2028}b", "a\\u2028b"),
            ("a\u{2029}b", "a\\u2029b"), ("a\u{7f}", "a\\u007f"), ("\u{202e}evil", "\\u202eevil"), ("\\n", "\\\\n"),
            ("Grüße, 世界 🌍", "Grüße, 世界 🌍"),
        ])
    func escapes(outside: String, printed: String) {
        #expect(LogText.escaped(outside) == printed)
        let line = line(outside, [("detail", outside)])
        for bytes in [line.text(), line.json()] {
            #expect(bytes.count { $0 == 0x0A } == 1)
            #expect(bytes.last == 0x0A)
            #expect(text(bytes).unicodeScalars.dropLast().allSatisfy { !LogText.isHarmful($0) })
            #expect(text(bytes).contains(printed))
        }
    }

    @Test("quotes and blanks in a value do not make a second fact")
    func quotes() {
        let line = line("m", [("detail", "a\" request_id=1"), ("other", "x=y")])
        #expect(text(line.text()).hasSuffix(": m detail=\"a\\\" request_id=1\" other=\"x=y\"\n"))
    }

    @Test(
        "a long line is cut with a mark and keeps its request id",
        arguments: [7_900, 8_020, 8_030, 8_040, 8_192, 100_000])
    func cut(length: Int) {
        for character in ["x", "\u{1b}", "世"] {
            let line = line(
                "m", [("a", String(repeating: character, count: length)), ("b", "lost")], requestID: "00ff")
            let plain = line.text()
            #expect(plain.count <= LogLine.bytesMax)
            #expect(text(plain).contains("request_id=00ff\n"))
            #expect(String(validating: plain, as: UTF8.self) != nil)
            if length > 8_100 { #expect(text(plain).contains("… [cut] request_id")) }
            let json = line.json()
            #expect(json.count <= LogLine.bytesMax)
            #expect(text(json).hasSuffix(length > 8_100 ? ",\"request_id\":\"00ff\",\"cut\":true}\n" : "}\n"))
        }
    }

    @Test("many long facts still end within the bound")
    func manyFacts() {
        let facts = (0..<500).map { (key: "key\($0)", value: String(repeating: "v", count: 100)) }
        #expect(line("m", facts, requestID: "1").text().count <= LogLine.bytesMax)
        #expect(line("m", facts, requestID: "1").json().count <= LogLine.bytesMax)
    }
}

@Suite("Loggers")
struct LoggerTests {
    final class Recorder: LogOutput {
        let lines = Mutex<[String]>([])
        let level: Logger.Level
        let format: LogFormat
        init(level: Logger.Level = .info, format: LogFormat = .text) {
            self.level = level
            self.format = format
        }
        func write(_ line: [UInt8]) {
            lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) }
        }
    }

    @Test("metadata of logger and event are merged, sorted, the request id last")
    func metadata() {
        let recorder = Recorder()
        var logger = recorder.logger(component: "front", time: StoppedTime())
        logger[metadataKey: "request_id"] = "abc"
        logger[metadataKey: "caller"] = "anonymous"
        logger.warning("odd header", metadata: ["tool": "x", "caller": "erp", "list": ["a", "b"]])
        #expect(
            recorder.lines.withLock { $0 } == [
                "1970-01-01 00:00:00.000Z warning front: odd header caller=erp list=\"[\\\"a\\\", \\\"b\\\"]\" tool=x "
                    + "request_id=abc\n"
            ])
    }

    @Test("what is below the level is not written")
    func levels() {
        let recorder = Recorder(level: .warning)
        var logger = recorder.logger(component: "front", time: StoppedTime())
        logger.info("one")
        logger.error("two")
        logger.logLevel = .debug
        logger.debug("three")
        #expect(recorder.lines.withLock { $0.count } == 2)
    }
}
