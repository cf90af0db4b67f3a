// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// Puts a backup in the place of the database.
struct Restore: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Puts a backup in the place of the database, which is kept under another name.",
        discussion: """
            Example: mcp-gateway restore /var/lib/mcp/backups/queue-20261123.db

            Only while no gateway runs: stop it, restore, start it. A file that is not sound is refused, and everything
            stays as it was.
            Exit status: 0 restored, 1 not restored, everything is as it was.
            """)

    @OptionGroup var configuration: ConfigurationOption

    @Flag(help: "Print one JSON object.")
    var json = false

    @Argument(help: "The backup.", completion: .file())
    var file: String

    func run() throws {
        HelperProcess.begin("restore")
        try configuration.turnStrangersAway()
        let verbs = StorageVerbs(settings: try configuration.load(strict: false))
        try OperatorVerb.run(json: json) { () throws(StartError) in try verbs.restore(file) }
    }
}
