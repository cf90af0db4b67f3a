// Licensed under the Apache License 2.0; see LICENSE.

import GatewayTestKit
import NIOCore
import Testing

@testable import GatewayCore

/// Waits for one waiter.
@Suite("Latch") struct LatchTests {
    @Test("What is open already is not waited for, however often")
    func openBefore() async throws {
        let latch = Latch()
        #expect(!latch.isOpen)
        latch.open()
        latch.open()
        #expect(latch.isOpen)
        for _ in 0..<2 { try await soon { await latch.wait() } }
        try await soon { await latch.wait(atMost: .seconds(3_600), on: TestLoop.one) }
    }

    @Test("A waiter goes on when the latch opens, and not before")
    func openWhileWaiting() async throws {
        let latch = Latch()
        let gate = Gate()
        let waiter = Task.immediate {
            await latch.wait()
            gate.open()
        }
        // It waits: nobody has opened anything yet.
        let isThrough = Flag()
        gate.whenOpen { isThrough.raise() }
        #expect(!isThrough.isRaised)
        latch.open()
        try await waiter.soon()
        #expect(isThrough.isRaised)
    }

    @Test("Opening and waiting may meet in any order")
    func race() async throws {
        for _ in 0..<2_000 {
            let latch = Latch()
            let waiting = Task { await latch.wait() }
            latch.open()
            try await waiting.soon()
        }
    }

    @Test("The end of the waiter's task ends the wait, before it and during it", arguments: [true, false])
    func cancellation(_ isBefore: Bool) async throws {
        let latch = Latch()
        let gate = Gate()
        let waiter = Task.immediate {
            if isBefore { await gate.pass() }
            await latch.wait()
            return Task.isCancelled
        }
        waiter.cancel()
        gate.open()
        #expect(try await waiter.soon())
        #expect(latch.isOpen)
    }

    @Test("A wait with a limit ends by its loop's clock")
    func timeout() async throws {
        let latch = Latch()
        try await soon { await latch.wait(atMost: .milliseconds(1), on: TestLoop.one) }
        #expect(latch.isOpen)
        for limit in [Duration.zero, .seconds(-5)] {
            try await soon { await Latch().wait(atMost: limit, on: TestLoop.one) }
        }
    }

    @Test("A wait with a limit ends early when the latch opens, and when its task ends", arguments: [true, false])
    func earlyEnd(_ opens: Bool) async throws {
        let latch = Latch()
        let waiter = Task.immediate { await latch.wait(atMost: .seconds(3_600), on: TestLoop.one) }
        if opens { latch.open() } else { waiter.cancel() }
        try await waiter.soon()
    }

    @Test("The longest limit there is overflows nothing")
    func longest() async throws {
        let latch = Latch()
        let waiter = Task.immediate { await latch.wait(atMost: .seconds(Int64.max), on: TestLoop.one) }
        latch.open()
        try await waiter.soon()
    }

    @Test("A pause ends by itself, and early when its task ends")
    func pause() async throws {
        try await soon { await Pause.wait(.milliseconds(1), on: TestLoop.one) }
        let long = Task.immediate { await Pause.wait(.seconds(3_600), on: TestLoop.one) }
        long.cancel()
        try await long.soon()
    }
}
