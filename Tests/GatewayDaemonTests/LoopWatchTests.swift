// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import GatewayTestKit
import Glibc
import NIOCore
import NIOPosix
import Testing

@testable import GatewayDaemon

@Suite("Event loops that stand still")
struct LoopWatchTests {
    @Test("One that does not turn for two seconds is noticed, and one that turns again is well")
    func stalls() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)
        let loops = Array(group.makeIterator())
        let time = ManualTime()
        let watch = LoopWatch(loops, time: time)
        // The first stands still until it is let go.
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        let (out, into) = (ends[0], ends[1])
        defer { for end in [out, into] { close(end) } }
        loops[0].execute {
            var byte: UInt8 = 0
            _ = read(out, &byte, 1)
        }
        watch.ask()
        try await loops[1].submit {}.get()
        #expect(watch.stall == nil, "it may be busy")
        time.advance(by: .seconds(2))
        #expect(watch.stall == nil)
        time.advance(by: .milliseconds(500))
        watch.ask()
        #expect(watch.stall == .milliseconds(2_500), "asking again does not begin anew")
        try #require(write(into, "x", 1) == 1)
        try await loops[0].submit {}.get()
        #expect(watch.stall == nil)
        watch.ask()
        for loop in loops { try await loop.submit {}.get() }
        #expect(watch.stall == nil)
        try await group.shutdownGracefully()
    }
}
