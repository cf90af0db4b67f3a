// Licensed under the Apache License 2.0; see LICENSE.

import Crypto
import GatewayCore
import Glibc

/// The folders of the gateways that share one storage directory, one each, `replica-1` and on, and the directory itself
/// where a gateway without replicas has worked before. Whoever has a folder locked is the only one who writes there;
/// the others only ever read.
package struct SiblingFolders: Sendable, Equatable {
    /// The directory that all share.
    package let base: String
    /// Our own folder, which is none of the others.
    package let own: String

    package init(base: String, own: String) {
        self.base = base
        self.own = own
    }

    package static func name(_ number: Int) -> String { "replica-\(number)" }

    /// Those that have a database.
    var others: [String] {
        let folders = StorageFiles.names(in: base).filter { $0.hasPrefix("replica-") }.map { base + "/" + $0 }
        return ([base] + folders).filter { $0 != own && StorageFiles.isRegular($0 + "/queue.db") }
    }

    /// A folder that nobody has locked, and in which something is left to do.
    package struct Abandoned: Sendable, Equatable {
        package let folder: String
        /// Calls that wait to be sent, by their upstreams.
        package var waiting: [String: Int] = [:]
        /// Calls about which a person has to decide.
        package var unknown = 0
        /// Why neither can be counted.
        package var trouble: String?
        /// The trouble is damage: the file is set aside when it is opened for good, and what can be read is kept.
        package var isDamaged = false

        package var name: String { folder.split(separator: "/").last.map(String.init) ?? folder }
    }

    /// Those that nobody has locked and where calls are left. Blocks for a look into each.
    package func abandoned() -> [Abandoned] {
        others.filter { !Self.isLocked($0) }.map(Self.left).filter {
            !$0.waiting.isEmpty || $0.unknown > 0 || $0.trouble != nil
        }
    }

    /// What is left in a folder that nobody has.
    package static func left(in folder: String) -> Abandoned {
        var found = Abandoned(folder: folder)
        do throws(SQLiteFailure) {
            let connection = try Connection(path: folder + "/queue.db", access(folder))
            let rows = try connection.prepare("SELECT upstream, status, count(*) FROM queue_items GROUP BY 1, 2")
            while try rows.step() {
                let count = Int(rows.integer(2) ?? 0)
                switch rows.text(1).flatMap(StoredStatus.init) {
                case .queued, .inFlight: found.waiting[rows.text(0) ?? "", default: 0] += count
                case .unknown: found.unknown += count
                default: break
                }
            }
        } catch {
            (found.waiting, found.unknown) = ([:], 0)
            (found.trouble, found.isDamaged) = (error.message, error.isDamage)
        }
        return found
    }

    /// A call that one of the others has stored, by its handle. Its id is negative, so that it is nobody's here.
    /// Blocks for a look into each, and for 200 ms where somebody writes.
    func find(handle: String, caller: String) -> Result<StoredOutcome?, CannotLook> {
        var trouble: CannotLook?
        for folder in others {
            do throws(SQLiteFailure) {
                if let found = try find(handle, caller, in: folder) { return .success(found) }
            } catch {
                // What is damaged stays so; anything else may be over the next time.
                if !error.isDamage {
                    trouble = CannotLook(words: "\(folder)/queue.db cannot be read: \(error.message)")
                }
            }
        }
        return trouble.map { .failure($0) } ?? .success(nil)
    }

    private func find(_ handle: String, _ caller: String, in folder: String) throws(SQLiteFailure) -> StoredOutcome? {
        let connection = try Connection(path: folder + "/queue.db", Self.access(folder))
        // Somebody must not wait long for what most likely is not there.
        connection.waitForOthers(milliseconds: 200)
        guard try FileCheck.strangeness(connection) == nil else { return nil }
        let rows = try CallRows(connection)
        guard let row = try rows.row(handle: handle), row.call.caller == caller else { return nil }
        var call = row.call
        let answer = try rows.answer(of: call.id)
        call.id = -call.id
        guard let answer, let bytes = Self.bytes(answer.payload, in: folder) else {
            return StoredOutcome(call: call, answer: nil)
        }
        return StoredOutcome(call: call, answer: StoredAnswer(kind: answer.kind, bytes: bytes))
    }

    private static func bytes(_ payload: Payload, in folder: String) -> [UInt8]? {
        guard let reference = payload.reference else { return payload.inline ?? [] }
        let name = reference.name.split(separator: "/").last.map(String.init) ?? "-"
        guard let bytes = PlainFile.contents(of: folder + "/queue/" + name, count: Int(reference.bytes)),
            Array(SHA256.hash(data: bytes)) == reference.digest
        else { return nil }
        return bytes
    }

    /// Beside a log that is not brought over, the main file alone is not the whole.
    private static func access(_ folder: String) -> Connection.Access {
        StorageFiles.exists(folder + "/queue.db-wal") || isLocked(folder) ? .read : .mainFileOnly
    }

    private static func isLocked(_ folder: String) -> Bool {
        let file = unsafe open(folder + "/gateway.lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { return false }
        defer { close(file) }
        return flock(file, LOCK_SH | LOCK_NB) != 0
    }
}
