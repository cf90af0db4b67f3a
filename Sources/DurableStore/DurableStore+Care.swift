// Licensed under the Apache License 2.0; see LICENSE.

package import GatewayCore
import Glibc

extension DurableStore: StorageCare {
    package func backup(to path: String?) async throws(StorageCareError) -> BackupReport {
        if let path {
            try Self.checkTarget(path, database: settings.databasePath)
            if let words = HiddenPlace.words(for: path) {
                throw .impossible(
                    detail: "no backup was made: \(words); mcp-gateway backup --to \(path), typed by somebody who may "
                        + "write there, puts it there; or name a file in \(settings.backupDirectory)")
            }
        }
        let caretaker = caretaker
        let result = await caretaker.perform { () -> Result<BackupReport, StorageCareError> in
            Result { () throws(StorageCareError) in try caretaker.backup(to: path) }
        }
        guard let result else { throw .closing }
        return try result.get()
    }

    /// A backup must not land on anything that is in use, nor on a file of somebody else.
    static func checkTarget(_ path: String, database: String) throws(StorageCareError) {
        func refuse(_ why: String) -> StorageCareError { .impossible(detail: "no backup was made: " + why) }
        guard path.hasPrefix("/"), !path.hasSuffix("/") else {
            throw refuse("\(path) is not an absolute path of a file; the gateway does not know your directory")
        }
        let home = StorageFiles.directory(of: database)
        if path.hasPrefix(home + "/"), StorageFiles.directory(of: path) != home + "/backups" {
            throw refuse("\(path) is among the files in use; name one in \(home)/backups, or elsewhere")
        }
        guard StorageFiles.exists(path) else { return }
        guard StorageFiles.isRegular(path) else {
            throw refuse("\(path) exists and is no regular file; name another one")
        }
        if let inode = StorageFiles.inode(of: path), inode == StorageFiles.inode(of: database) {
            throw refuse("\(path) is the database itself")
        }
        do {
            if StorageFiles.bytes(of: path) == 0 { return }
            let finding = try Schema.look(at: try Connection(path: path, .mainFileOnly))
            if case .current = finding { return }
            if case .older = finding { return }
        } catch {
            throw refuse("\(path) exists and is not a backup of mcp-gateway (\(error.message)); name another file")
        }
        throw refuse("\(path) exists and is not a backup of mcp-gateway; name another file")
    }

    package func verify(_ path: String?) async -> VerifyReport {
        let (settings, time, caretaker) = (settings, time, caretaker)
        let report = await caretaker.perform { () -> VerifyReport in
            guard let path, path != settings.databasePath else {
                do throws(SQLiteFailure) {
                    let connection = try Connection(path: settings.databasePath, .read)
                    return FileCheck.report(
                        connection, path: settings.databasePath, payloads: settings.payloadDirectory, isInUse: true,
                        time: time, while: { caretaker.keepsOn })
                } catch {
                    return .unreadable(settings.databasePath, error)
                }
            }
            return Self.verify(file: path, time: time, while: { caretaker.keepsOn })
        }
        if let report { return report }
        var none = VerifyReport(path: path ?? settings.databasePath)
        none.problems = ["the gateway is stopping: nothing was checked"]
        return none
    }

    package func rebuild() async -> RebuildReport {
        let begun = time.now()
        var report = RebuildReport()
        let names = await perform { connection in
            Result { () throws(SQLiteFailure) in
                let statement = try connection.prepare(
                    "SELECT name FROM sqlite_schema WHERE type = 'index' ORDER BY name")
                var names: [String] = []
                while try statement.step() { names.append(statement.text(0) ?? "") }
                return names
            }
        }
        switch names {
        case .success(let names):
            // One at a time: the writer takes what has come in meanwhile in between.
            for name in names { await rebuild(name, &report) }
        case .failure(let failure):
            report.problems.append("the indices cannot be listed: \(failure.message)")
        case nil:
            report.problems.append("the gateway is stopping: nothing was rebuilt")
            return report
        }
        let (settings, time, caretaker) = (settings, time, caretaker)
        let found = await caretaker.perform { () -> Result<(Int, Int), SQLiteFailure> in
            Result { () throws(SQLiteFailure) in
                let connection = try Connection(path: settings.databasePath, .read)
                let payloads = PayloadCheck(directory: settings.payloadDirectory)
                let orphans = try payloads.orphans(connection, wallSeconds: time.wallMilliseconds() / 1_000)
                let missing = try payloads.check(connection, isInUse: true, while: { caretaker.keepsOn }).missing
                return (orphans, missing)
            }
        }
        switch found {
        case .success(let counts): (report.orphans, report.rowsWithoutPayload) = counts
        case .failure(let failure): report.problems.append("payload files were not counted: \(failure.message)")
        case nil: report.problems.append("the gateway is stopping: payload files were not counted")
        }
        // The new indices may be all that was wrong, and files that were set aside may be gone.
        let isSound = await caretaker.perform {
            caretaker.forgetWhatIsGone()
            return caretaker.look()
        }
        if isSound == false {
            report.problems.append("the database is damaged beyond its indices; restart the gateway: it salvages")
        }
        let optimized = await perform { connection in
            Result { () throws(SQLiteFailure) in try connection.execute("PRAGMA optimize") }
        }
        if case .failure(let failure) = optimized {
            report.problems.append("the statistics were not renewed: \(failure.message)")
        }
        report.seconds = time.now().since(begun).milliseconds / 1_000
        return report
    }

    private func rebuild(_ index: String, _ report: inout RebuildReport) async {
        let name = index.replacing("\"", with: "\"\"")
        let result = await perform { connection in
            Result { () throws(SQLiteFailure) in try connection.execute("REINDEX \"\(name)\"") }
        }
        switch result {
        case .success: report.indices += 1
        case .failure(let failure): report.problems.append("index \(index) was not rebuilt: \(failure.message)")
        case nil: report.problems.append("the gateway is stopping: index \(index) was not rebuilt")
        }
    }

    /// Does now what the caretaker does by the clock.
    func lookAround() async { _ = await caretaker.perform { [caretaker] in caretaker.round() } }
}

extension VerifyReport {
    static func unreadable(_ path: String, _ failure: SQLiteFailure) -> VerifyReport {
        var report = VerifyReport(path: path)
        report.problems = ["it cannot be read: " + OpenDatabase.words(for: failure, path: path)]
        return report
    }
}
