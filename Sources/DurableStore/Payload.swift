// Licensed under the Apache License 2.0; see LICENSE.

/// Arguments or a result on their way to the table.
enum Payload: Sendable, Equatable {
    case none
    /// In the row.
    case inline([UInt8])
    /// In a file of its own, which is synced already.
    case file(PayloadReference)

    var inline: [UInt8]? {
        if case .inline(let bytes) = self { bytes } else { nil }
    }

    var reference: PayloadReference? {
        if case .file(let reference) = self { reference } else { nil }
    }

    var bytes: Int64 {
        switch self {
        case .none: 0
        case .inline(let bytes): Int64(bytes.count)
        case .file(let reference): reference.bytes
        }
    }
}

/// A payload file as its row knows it.
struct PayloadReference: Sendable, Equatable {
    var name: String
    var bytes: Int64
    /// SHA-256.
    var digest: [UInt8]
}
