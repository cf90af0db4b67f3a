// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
internal import Synchronization

/// One stretch of work that is recorded, from when it began. Whoever learns something about it notes it down; the
/// tracer that began it ends it.
package final class TraceSpan: SpanNotes {
    /// The numbers of OTLP's `SpanKind`.
    package enum Kind: Int, Sendable {
        case `internal` = 1
        case server, client, producer, consumer
    }

    package enum Value: Sendable, Equatable {
        case text(String)
        case number(Int)
    }

    struct Notes: Sendable {
        var name: String
        var attributes: [(key: String, value: Value)] = []
        /// Why it did not come to what it should have; nil when it did.
        var failure: String?
    }

    /// Of those asked within it.
    package let context: TraceContext
    let parent: UInt64?
    let kind: Kind
    /// Wall clock, since 1970.
    let beganNanoseconds: UInt64
    let began: Moment
    private let state: Mutex<Notes>

    /// More would be a mistake of ours.
    private static let attributesMax = 32

    init(
        _ name: String, _ kind: Kind, context: TraceContext, parent: UInt64?, beganNanoseconds: UInt64, began: Moment
    ) {
        self.context = context
        self.parent = parent
        self.kind = kind
        self.beganNanoseconds = beganNanoseconds
        self.began = began
        state = Mutex(Notes(name: name))
    }

    var notes: Notes { state.withLock { $0 } }

    package func note(_ key: String, _ text: String) { note(key, .text(text)) }

    package func note(_ key: String, _ value: Value) {
        state.withLock { notes in
            if notes.attributes.count < Self.attributesMax { notes.attributes.append((key, value)) }
        }
    }

    package func failed(_ type: String, _ words: String) {
        state.withLock { notes in
            notes.failure = words
            if notes.attributes.count < Self.attributesMax { notes.attributes.append(("error.type", .text(type))) }
        }
    }
}
