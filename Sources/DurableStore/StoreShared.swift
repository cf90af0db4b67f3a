// Licensed under the Apache License 2.0; see LICENSE.

import Synchronization

/// What the writer and everybody else share.
final class StoreShared: Sendable {
    let inbox: Mutex<Inbox>
    let state: Mutex<StoreState>
    let bell: Bell
    let care = Mutex(CareState())

    init(inbox: Inbox, state: StoreState) throws(StoreError) {
        self.inbox = Mutex(inbox)
        self.state = Mutex(state)
        bell = try Bell()
    }
}
