// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// A deep look at a database file.
struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Looks at every page and every payload file of the database, or of a backup.",
        discussion: """
            Example: mcp-gateway verify /var/lib/mcp/backups/queue-20261123.db

            Without a file: the database in use, through the gateway when it runs. Nothing is changed.
            Exit status: 0 sound, 1 not sound or not readable.
            """)

    @OptionGroup var configuration: ConfigurationOption

    @Flag(help: "Print one JSON object.")
    var json = false

    @Argument(help: "The file. Default: the database of the configuration.", completion: .file())
    var file: String?

    func run() throws {
        HelperProcess.begin("verify")
        let verbs = StorageVerbs(settings: try configuration.settingsForOperators())
        try OperatorVerb.run(json: json) { () throws(StartError) in try verbs.verify(file) }
    }
}
