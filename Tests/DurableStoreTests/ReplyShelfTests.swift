// Licensed under the Apache License 2.0; see LICENSE.

import GatewayCore
import Testing

@testable import DurableStore

/// Answers that may be given again.
@Suite("Reply shelf") struct ReplyShelfTests {
    private func reply(_ text: String, at keptAt: Int64 = 1_000) -> KeptReply {
        KeptReply(result: Array(text.utf8), keptAt: keptAt)
    }

    @Test("What was kept is there again, under its key alone, also after a start")
    func survives() async throws {
        let bench = StoreBench()
        var store = try bench.open()
        store.replies.keep([1], tool: "a", reply("one"))
        store.replies.keep([2], tool: "b", reply("two", at: 2_500))
        store.replies.keep([1], tool: "a", reply("one again", at: 3_000))
        #expect(await store.replies.lookup([1]) == reply("one again", at: 3_000))
        #expect(await store.replies.lookup([3]) == nil)
        #expect(store.replies.size().entries == 2)
        store.close()
        store = try bench.open()
        #expect(await store.replies.lookup([1]) == reply("one again", at: 3_000))
        #expect(await store.replies.lookup([2]) == reply("two", at: 2_500))
        #expect(store.replies.size().bytes == 12)
        store.close()
    }

    @Test("Clearing forgets all, or what one tool answered, on disk as well")
    func clear() async throws {
        let bench = StoreBench()
        var store = try bench.open()
        for (key, tool) in [(UInt8(1), "a"), (2, "a"), (3, "b")] {
            store.replies.keep([key], tool: tool, reply("12345"))
        }
        #expect(await store.replies.clear(tool: "a") == (2, 10))
        #expect(await store.replies.lookup([1]) == nil)
        #expect(await store.replies.lookup([3]) != nil)
        store.close()
        store = try bench.open()
        #expect(await store.replies.lookup([2]) == nil)
        #expect(await store.replies.clear(tool: nil) == (1, 5))
        store.close()
        #expect(try bench.number("SELECT count(*) FROM reply_cache") == 0)
    }

    @Test("The oldest make room, and all of it stays within its bound on disk")
    func bound() async throws {
        let bench = StoreBench()
        var settings = bench.settings()
        settings.cacheBytesMax = 100_000
        let store = try bench.open(settings)
        let text = String(repeating: "x", count: 1_000)
        for number in 0..<300 {
            store.replies.keep([UInt8(number / 256), UInt8(number % 256)], tool: "t", reply(text, at: Int64(number)))
        }
        #expect(store.replies.size().bytes <= 100_000)
        #expect(await store.replies.lookup([0, 0]) == nil)
        #expect(await store.replies.lookup([1, 43]) == reply(text, at: 299))
        await store.flush()
        #expect(await store.replies.lookup([1, 0]) == reply(text, at: 256), "read from disk, or still in memory")
        store.close()
        #expect(try bench.number("SELECT sum(length(result)) FROM reply_cache") ?? 0 <= 100_000)
    }

    @Test("Many small answers are bounded by what it takes to know of them, also at a start")
    func small() async throws {
        let bench = StoreBench(inMemory: true)
        var settings = bench.settings()
        settings.cacheBytesMax = 1 << 20
        var store = try bench.open(settings)
        let text = String(repeating: "x", count: 40)
        for number in 0..<9_000 {
            let key = [UInt8](repeating: UInt8(number % 256), count: 30) + [UInt8(number / 256)]
            store.replies.keep(key, tool: "t", reply(text, at: Int64(number)))
        }
        let bound = (1 << 20) / (40 + 31 + 250)
        #expect(store.replies.size().entries <= bound)
        #expect(store.replies.size().entries > bound / 2)
        await store.flush()
        store.close()
        settings.cacheBytesMax = 1 << 18
        store = try bench.open(settings)
        #expect(store.replies.size().entries <= bound / 4)
        store.replies.keep([1], tool: "t", reply(text, at: 10_000))
        await store.flush()
        store.close()
        #expect(try bench.number("SELECT count(*) FROM reply_cache") ?? 0 <= Int64(bound / 4))
    }

    @Test("There are never more answers than a hundred thousand, and one that is renewed is listed once")
    func entries() throws {
        let bench = StoreBench(inMemory: true)
        let shelf = try ReplyShelf(Connection(path: made(bench).database), bytesMax: 1 << 30, writer: { _ in false })
        for number in 0...ReplyShelf.entriesMax {
            let key = [UInt8(number >> 16), UInt8(number >> 8 & 255), UInt8(number & 255)]
            shelf.keep(key, tool: "t", reply("", at: Int64(number)))
        }
        #expect(shelf.size().entries == ReplyShelf.entriesMax / 10 * 9)
        let other = try ReplyShelf(Connection(path: bench.database), bytesMax: 1 << 30, writer: { _ in false })
        for number in 0..<1_000 { other.keep([1], tool: "t", reply("x", at: Int64(number))) }
        #expect(other.listed < 100)
    }

    /// With a database that nobody has open.
    private func made(_ bench: StoreBench) throws -> StoreBench {
        try bench.open().close()
        return bench
    }

    @Test("Memory that is given back costs nothing but a look at the disk")
    func memory() async throws {
        let bench = StoreBench()
        let store = try bench.open()
        store.replies.keep([1], tool: "a", reply("one"))
        await store.flush()
        store.replies.releaseMemory()
        #expect(await store.replies.lookup([1]) == reply("one"))
        store.close()
        #expect(await store.replies.lookup([2]) == nil)
    }

    @Test("What owners have to offer is known again after a start, byte for byte")
    func offers() throws {
        let bench = StoreBench()
        var store = try bench.open()
        var offers = Offers(
            tools: [OfferedItem(name: "t\u{e9}", definition: Array(#"{"name":"té"}"#.utf8))],
            prompts: [OfferedItem(name: "", definition: [])], resources: [],
            templates: [OfferedItem(name: "x:{y}", definition: Array("{}".utf8))])
        offers.completes = true
        offers.instructions = "Do this."
        store.offers.keep(offers, of: "up", at: 5_000)
        store.close()
        store = try bench.open()
        let known = store.offers.offers(of: "up")
        #expect(known?.offers == offers)
        #expect(known?.keptAt == 5_000)
        #expect(store.offers.offers(of: "other") == nil)
        store.close()
    }

    @Test(
        "Bytes that are no archive give nothing",
        arguments: [[], [1], [2, 0, 0], [1, 0, 0, 0, 0, 9], [1, 0, 255, 255, 255, 255]])
    func noArchive(_ bytes: [UInt8]) {
        #expect(Offers(archived: bytes) == nil)
    }

    @Test("An archive that is cut anywhere gives nothing, or what it is")
    func cut() {
        let offers = Offers(tools: [OfferedItem(name: "a", definition: Array("{}".utf8))])
        let whole = offers.archived
        #expect(Offers(archived: whole) == offers)
        for length in 0..<whole.count { #expect(Offers(archived: Array(whole.prefix(length))) == nil) }
    }
}
