// Licensed under the Apache License 2.0; see LICENSE.

import Synchronization

extension DurableStore {
    /// Has everything but the directory follow other settings; returns when they are in force, after `close` at once.
    ///
    /// Nothing that is stored goes because of lower bounds of the queue: new calls are refused until it is within
    /// them, also where the oldest would be dropped otherwise. What is over still makes room for them by its bytes.
    /// Calls that are over stay for as long as they were told; log rows and kept answers beyond their bounds go at
    /// once, a piece at a time. Fewer backups are kept from the next one on. Of several changes at one time the last
    /// one counts.
    package func change(_ settings: StoreSettings) async {
        shared.settings.withLock { held in
            var next = settings
            next.directory = held.directory
            next.siblings = held.siblings
            held = next
        }
        caretaker.wake()
        _ = await calls.look { (_) throws(SQLiteFailure) -> Bool? in true }
    }
}
