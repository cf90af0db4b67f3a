// Licensed under the Apache License 2.0; see LICENSE.

/// Lanes by the time at which their first call may be sent, soonest first. An entry may be out of date: whoever takes
/// it compares it with the lane.
struct ReadyHeap {
    struct Entry: Comparable {
        var availableAt: Int64
        var id: Int64
        var caller: String

        static func < (left: Entry, right: Entry) -> Bool {
            (left.availableAt, left.id) < (right.availableAt, right.id)
        }
    }

    private var entries: [Entry] = []

    var count: Int { entries.count }
    var top: Entry? { entries.first }

    mutating func push(_ entry: Entry) {
        entries.append(entry)
        var index = entries.count - 1
        while index > 0, entries[index] < entries[(index - 1) / 2] {
            entries.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    mutating func pop() {
        guard entries.count > 1 else {
            entries = []
            return
        }
        entries[0] = entries.removeLast()
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2] where child < entries.count && entries[child] < entries[least] {
                least = child
            }
            if least == index { return }
            entries.swapAt(index, least)
            index = least
        }
    }

    /// Lets go of what is out of date.
    mutating func sweep(_ isCurrent: (Entry) -> Bool) {
        var seen: Set<String> = []
        let kept = entries.filter { isCurrent($0) && seen.insert($0.caller).inserted }
        // Sorted entries are a heap.
        entries = kept.sorted()
    }
}
