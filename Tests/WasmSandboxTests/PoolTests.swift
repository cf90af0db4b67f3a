// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

@testable import WasmSandbox

@Suite("Many calls at once", .serialized, .enabled(if: Library.isThere, Library.hint), .timeLimit(.minutes(2)))
struct PoolTests {
    @Test("Eight calls of one tool run at the same time, and a cancelled one stops")
    func parallel() async throws {
        let bench = Workbench(workers: 8)
        let tool = try await bench.load(Guest.spin)
        let calls = (0..<8).map { _ in
            Task { () async throws -> CallFailure? in
                let request = try makeCall()
                do throws(CallFailure) {
                    _ = try await tool.call(request)
                    return nil
                } catch { return error }
            }
        }
        await eventually("eight calls never ran at once") { bench.sandbox.usage().running == 8 }
        for call in calls { call.cancel() }
        for call in calls { #expect(try await call.value == .cancelled) }
        await eventually("the guests went on") { bench.sandbox.usage().running == 0 }
    }

    @Test("Past the line the next call is refused; a waiting one leaves at its deadline or when cancelled")
    func line() async throws {
        let bench = Workbench(workers: 1, waitingMax: 2)
        let tool = try await bench.load(Guest.spin)
        func start(within: Duration) -> Task<CallFailure?, any Error> {
            Task {
                let request = try makeCall(within: within)
                do throws(CallFailure) {
                    _ = try await tool.call(request)
                    return nil
                } catch { return error }
            }
        }
        let first = start(within: .seconds(60))
        await eventually("the first call never ran") { bench.sandbox.usage() == (1, 0) }
        let second = start(within: .seconds(60))
        await eventually("the second call never waited") { bench.sandbox.usage() == (1, 1) }
        let third = start(within: .milliseconds(300))
        await eventually("the third call never waited") { bench.sandbox.usage() == (1, 2) }
        if case .overloaded = try await start(within: .seconds(60)).value {} else { Issue.record("not refused") }

        guard case .timedOut(_, sent: false) = try await third.value else {
            Issue.record("the third call did not time out in the line")
            return
        }
        second.cancel()
        #expect(try await second.value == .cancelled)
        #expect(bench.sandbox.usage() == (1, 0))
        first.cancel()
        #expect(try await first.value == .cancelled)
    }

    @Test("A call that was cancelled before it began is not begun")
    func cancelledBefore() async throws {
        let bench = Workbench()
        let tool = try await bench.load(Guest.echo)
        let call = Task { () async throws -> CallFailure? in
            unsafe withUnsafeCurrentTask { unsafe $0?.cancel() }
            let request = try makeCall()
            do throws(CallFailure) {
                _ = try await tool.call(request)
                return nil
            } catch { return error }
        }
        #expect(try await call.value == .cancelled)
    }

    @Test("Hundreds of calls of tools that answer, trap and spin all end as they should")
    func mixture() async throws {
        let bench = Workbench(workers: 4, waitingMax: 1_000)
        let good = try await bench.load(Guest.echo)
        let bad = try await bench.load(Guest.v1(call: "(unreachable)"))
        let slow = try await bench.load(Guest.spin) { $0.timeout = .milliseconds(10) }
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for index in 0..<300 {
                group.addTask {
                    switch index % 10 {
                    case 0: return try await bad.stop(makeCall()).contains("gave up")
                    case 1: return try await slow.stop(makeCall()).contains("10 ms")
                    default:
                        let answer = try await good.answer(makeCall(arguments: #"{"n":\#(index)}"#))
                        return answer == #"{"params":{"name":"t","arguments":{"n":\#(index)}}}"#
                    }
                }
            }
            for try await isRight in group { #expect(isRight) }
        }
    }

    @Test("A shutdown ends what runs and refuses what comes")
    func shutdown() async throws {
        let bench = Workbench(workers: 1)
        let tool = try await bench.load(Guest.spin)
        let call = Task { () async throws -> CallFailure? in
            let request = try makeCall()
            do throws(CallFailure) {
                _ = try await tool.call(request)
                return nil
            } catch { return error }
        }
        await eventually("the call never ran") { bench.sandbox.usage().running == 1 }
        bench.sandbox.shutdown()
        #expect(try await call.value == .cancelled)
        await #expect(throws: CallFailure.unavailable(detail: "the gateway is stopping")) {
            try await tool.call(makeCall())
        }
        await #expect(throws: SandboxError.stopped) { try await bench.load(Guest.echo) }
    }
}
