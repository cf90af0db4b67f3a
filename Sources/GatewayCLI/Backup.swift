// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// Has the running gateway copy its database.
struct Backup: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes an exact, verified copy of the running gateway's database.",
        discussion: """
            Example: mcp-gateway backup --to /var/lib/mcp/backups/queue-before-update.db

            Calls go on meanwhile. The file may be anywhere where you may write; it is made in backups/ first, so there
            has to be room for it at both places.
            Exit status: 0 made and verified, 1 not made or no gateway runs.
            """)

    @OptionGroup var configuration: ConfigurationOption

    @Option(
        help: "The file to write. Default: the day's backup in backups/ of the storage directory.",
        completion: .file())
    var to: String?

    @Flag(help: "Print the gateway's JSON.")
    var json = false

    func run() throws {
        HelperProcess.begin("backup")
        let verbs = StorageVerbs(settings: try configuration.settingsForOperators())
        try OperatorVerb.run(json: json) { () throws(StartError) in try verbs.backup(to: to) }
    }
}
