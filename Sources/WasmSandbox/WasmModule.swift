// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import NIOCore

/// The tools of one module. Each call runs in a fresh instance; calls run at the same time as far as there are workers.
package final class WasmModule: Backend {
    package let name: String
    package let route = "wasm"
    private let guest: GuestModule
    private let pool: WorkerPool
    private let time: any TimeSource
    private let report: SandboxReport
    private let descriptors: [OfferedItem]
    private let names: Set<String>

    /// Asks the module for its tools; that is a run like any other, with at least five seconds.
    init(guest: GuestModule, pool: WorkerPool, time: any TimeSource, report: @escaping SandboxReport)
        async throws(SandboxError)
    {
        name = guest.settings.name
        self.guest = guest
        self.pool = pool
        self.time = time
        self.report = report
        guard let (export, input) = guest.interface.listing else {
            descriptors = []
            names = []
            return
        }
        let limit = max(guest.settings.timeout, .seconds(5))
        let deadline = Deadline(time.now() + limit + .seconds(60))
        let run = Run(guest: guest, pool: pool, time: time, export: export, deadline: deadline, limit: limit)
        let (outcome, log) = await run.result(of: input)
        Self.note(log, of: guest.settings.name, in: report)
        switch outcome {
        case .ended(.output(let bytes)): descriptors = try ToolList.parse(bytes)
        case .ended(.complaint(let text)): throw .noTools("The module could not list its tools: \(oneLine(text)).")
        case .ended(.stopped(let words)): throw .noTools("The module could not list its tools: \(words).")
        case .ended(.overTime):
            throw .noTools("The module did not list its tools within \(Words.time(limit)).")
        case .ended(.cancelled), .refused(.cancelled), .refused(.stopped): throw .stopped
        case .refused(.full), .refused(.expired):
            throw .noTools("The module could not be asked for its tools: all workers are busy. Try again later.")
        }
        names = Set(descriptors.map(\.name))
    }

    package func offers() -> Offers { Offers(tools: descriptors) }

    /// Ends by the call's deadline, and no later than the module's own time limit after it began to run. A cancelled
    /// task leaves the line at once or stops its guest within some milliseconds.
    package func call(_ call: RoutedCall) async throws(CallFailure) -> CallAnswer {
        guard call.operation == .tool, names.contains(call.target) else { throw .unknownTool }
        let settings = guest.settings
        let began = time.now()
        let run = Run(
            guest: guest, pool: pool, time: time, export: guest.interface.callExport, deadline: call.deadline,
            limit: settings.timeout)
        let (outcome, log) = await run.result(of: guest.interface.input(for: call))
        Self.note(log, of: name, in: report)
        switch outcome {
        case .ended(.output(let bytes)): return try ToolResult.read(bytes, bytesMax: settings.outputBytesMax)
        case .ended(.complaint(let text)): return try ToolResult.complaint(text)
        case .ended(.stopped(let words)): throw .stopped(detail: words)
        case .ended(.overTime):
            let now = time.now()
            if call.deadline.hasPassed(at: now) { throw .timedOut(after: now.since(began), sent: true) }
            throw .stopped(
                detail: "timeout: the tool ran longer than its limit of \(Words.time(settings.timeout)) and was "
                    + "stopped; ask for less at once")
        case .ended(.cancelled), .refused(.cancelled): throw .cancelled
        case .refused(.expired): throw .timedOut(after: time.now().since(began), sent: false)
        case .refused(.full):
            throw .overloaded(detail: "too many calls of WebAssembly tools wait already", retryAfter: 1)
        case .refused(.stopped): throw .unavailable(detail: "the gateway is stopping")
        }
    }

    private static func note(_ log: String, of name: String, in report: SandboxReport) {
        guard !log.isEmpty else { return }
        report(.debug, "a tool wrote to its log", [("tool_module", name), ("text", log)])
    }
}

/// One run on its way through the pool.
private struct Run {
    enum Outcome {
        case ended(GuestOutcome)
        case refused(PoolRefusal)
    }

    let guest: GuestModule
    let pool: WorkerPool
    let time: any TimeSource
    let export: String
    let deadline: Deadline
    let limit: Duration

    func result(of input: GuestInput) async -> (outcome: Outcome, log: String) {
        let flag = CancelFlag()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (guest, export, time, deadline, limit) = (guest, export, time, deadline, limit)
                pool.submit(
                    Job(deadline: deadline, flag: flag) { seat in
                        let timeLeft = min(deadline.remaining(at: time.now()), limit)
                        let run = GuestRun(module: guest, export: export, flag: flag, timeLeft: timeLeft)
                        let (outcome, log) = run.perform(input, in: seat)
                        return { continuation.resume(returning: (.ended(outcome), log)) }
                    } refuse: { refusal in
                        continuation.resume(returning: (.refused(refusal), ""))
                    })
            }
        } onCancel: {
            pool.cancel(flag)
        }
    }
}
