// Licensed under the Apache License 2.0; see LICENSE.

import Synchronization

/// What the writer and everybody else share.
final class StoreShared: Sendable {
    /// Those in force. The writer takes over what belongs to its thread before it serves what was asked for later.
    let settings: Mutex<StoreSettings>
    let inbox: Mutex<Inbox>
    let state: Mutex<StoreState>
    let bell: Bell
    let care = Mutex(CareState())
    /// Has the caretaker look at what calls wait for a person.
    let recount = Mutex<(@Sendable () -> Void)?>(nil)

    init(_ settings: StoreSettings, inbox: Inbox, state: StoreState) throws(StoreError) {
        self.settings = Mutex(settings)
        self.inbox = Mutex(inbox)
        self.state = Mutex(state)
        bell = try Bell()
    }
}
