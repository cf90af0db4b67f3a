// Licensed under the Apache License 2.0; see LICENSE.

import Glibc
import Testing

@testable import GatewayDaemon

@Suite("Whether a user may read a file, by modes")
struct FileRightsTests {
    private static let stranger = FileRights.Reader(user: 54_321, name: "ada", groups: [54_321], group: "staff")

    /// A folder of its own, ended by the test, with one file in it.
    private func withFile(folder: UInt32, file: UInt32, _ body: (String) -> Void) {
        let place = "/tmp/gateway-rights-\(UInt64.random(in: 0 ... .max))"
        let path = place + "/a.toml"
        mkdir(place, 0o700)
        close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600))
        chmod(path, file)
        chmod(place, folder)
        body(path)
        unlink(path)
        rmdir(place)
    }

    @Test("a file for its owner alone is named with what opens it")
    func file() {
        withFile(folder: 0o755, file: 0o600) { path in
            let found = FileRights.obstacle(to: path, for: Self.stranger)
            #expect(found?.reason == "mode 0600: user ada may not read it")
            #expect(found?.mending == "chmod 640 \(path), chgrp staff \(path)")
            #expect(found?.joining == nil)
        }
    }

    @Test("a folder on the way is named instead of the file")
    func folder() {
        withFile(folder: 0o700, file: 0o644) { path in
            let found = FileRights.obstacle(to: path, for: Self.stranger)
            let place = String(path.dropLast("/a.toml".count))
            #expect(found?.reason == "\(place) has mode 0700: user ada may not look into it")
            #expect(found?.mending == "chmod 750 \(place), chgrp staff \(place)")
        }
    }

    @Test("who is in the group, is root, or is anybody where all may, has no obstacle")
    func none() {
        let member = FileRights.Reader(user: 54_321, name: "ada", groups: [54_321, getegid()], group: "staff")
        let root = FileRights.Reader(user: 0, name: "root", groups: [0], group: "root")
        withFile(folder: 0o750, file: 0o640) { path in
            #expect(FileRights.obstacle(to: path, for: member) == nil)
            #expect(FileRights.obstacle(to: path, for: root) == nil)
            #expect(FileRights.obstacle(to: path, for: Self.stranger) != nil)
        }
        withFile(folder: 0o755, file: 0o644) { path in
            #expect(FileRights.obstacle(to: path, for: Self.stranger) == nil)
            #expect(FileRights.obstacle(to: path + ".absent", for: Self.stranger) == nil)
        }
    }

    @Test("a group that may is one to join")
    func joining() {
        let obstacle = FileRights.Obstacle(
            path: "/etc/mcp-gateway", isFolder: true, mode: 0o42750, reader: Self.stranger, group: "mcp-gateway")
        #expect(
            obstacle.joining == "be root or a member of the group mcp-gateway: adduser ada mcp-gateway")
        #expect(obstacle.reason == "/etc/mcp-gateway has mode 2750: user ada may not look into it")
    }

    @Test(
        "what only root may read of the service's folder is wrong for the service",
        arguments: [("/etc/mcp-gateway/production.toml", true), ("/etc/gw/gateway.toml", false)])
    func loading(path: String, isWrong: Bool) {
        var fixture = SettingsFixture("")
        fixture.texts["/etc/mcp-gateway/production.toml"] = []
        var files = fixture.files
        files.hiddenFromOwner = { _, directory in
            SettingsFiles.Unreadable(reason: "the owner of \(directory) may not", advice: "chmod it")
        }
        let outcome = SettingsLoader.load(
            path: path, strict: false, environment: fixture.environment, installation: fixture.installation,
            files: files)
        let words = "the gateway cannot read this file: the owner of /var/lib/mcp may not; chmod it"
        #expect(outcome.problems.map(\.message).contains(words) == isWrong)
        #expect((outcome.settings == nil) == isWrong)
    }
}
