// Licensed under the Apache License 2.0; see LICENSE.

import HTTPListener
import Testing

@testable import GatewayDaemon

/// `[server.tls]`, `server.trusted_proxies` and `admin.listen`.
@Suite struct SettingsEntranceTests {
    /// In the middle of the hundred years for which the certificates are good.
    private static let now = 2_000_000_000
    /// Of server.pem: 2020-01-01 and 2120-01-01.
    private static let validFrom = 1_577_836_800
    private static let validUntil = 4_733_510_400
    private static let day = 86_400

    private static let pair = "[server.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n"

    /// What comes of a configuration beside the files of `Tests/Fixtures/tls`.
    ///
    /// - Parameter changes: other texts in those files.
    private func load(
        _ text: String, now: Int = now, isOpen: Bool = false, strict: Bool = true, changes: [String: [UInt8]] = [:]
    ) throws -> SettingsOutcome {
        var fixture = SettingsFixture(text)
        let files = [
            "authority.pem", "server.pem", "server.key", "renewed.pem", "renewed.key", "client.pem", "locked.key",
        ]
        for name in files {
            fixture.texts["/etc/gw/\(name)"] = Array(
                try SettingsReferenceTests.text("Tests/Fixtures/tls/\(name)").utf8)
        }
        for (name, bytes) in changes { fixture.texts["/etc/gw/\(name)"] = bytes }
        var seen = fixture.files
        seen.now = { now }
        seen.isOpenToOthers = { isOpen && $0 == "/etc/gw/server.key" }
        return SettingsLoader.load(
            path: "/etc/gw/gateway.toml", strict: strict, environment: fixture.environment,
            installation: fixture.installation, files: seen)
    }

    private func problems(
        _ text: String, now: Int = now, isOpen: Bool = false, strict: Bool = true, changes: [String: [UInt8]] = [:]
    ) throws -> [String] {
        try load(text, now: now, isOpen: isOpen, strict: strict, changes: changes).problems
            .map { String($0.description.dropFirst("/etc/gw/gateway.toml:".count)) }
    }

    // MARK: TLS

    @Test func `without the table there is no TLS`() throws {
        #expect(try load("").settings?.server.tls == nil)
    }

    @Test func `what was checked is what is served, and a key shows in no dump`() throws {
        let outcome = try load(
            Self.pair + "client_ca = \"authority.pem\"\nrequire_client_certificate = true")
        #expect(outcome.problems == [])
        let tls = try #require(outcome.settings?.server.tls)
        #expect(tls.certificate == (try SettingsReferenceTests.text("Tests/Fixtures/tls/server.pem")))
        #expect(tls.clientAuthorities == (try SettingsReferenceTests.text("Tests/Fixtures/tls/authority.pem")))
        #expect(tls.requiresClientCertificate)
        #expect(tls.key.revealed.contains("PRIVATE KEY"))
        var dumped = ""
        dump(outcome.settings, to: &dumped)
        #expect(!dumped.contains("PRIVATE KEY"))
        #expect(try outcome.settings?.entrance().tls != nil)
    }

    @Test func `new files at the same places are a change, and are in force without a restart`() throws {
        let before = try #require(try load(Self.pair).settings)
        let changes = [
            "server.pem": Array(try SettingsReferenceTests.text("Tests/Fixtures/tls/renewed.pem").utf8),
            "server.key": Array(try SettingsReferenceTests.text("Tests/Fixtures/tls/renewed.key").utf8),
        ]
        let after = try #require(try load(Self.pair, changes: changes).settings)
        let difference = SettingsDifference(from: before, to: after)
        #expect(difference.changed == ["server.tls"])
        #expect(difference.waiting == [])
        #expect(difference.settings.server.tls == after.server.tls)
        #expect(SettingsDifference(from: before, to: try #require(try load(Self.pair).settings)).changed == [])
    }

    @Test(arguments: [
        ("[server.tls]", "server.tls: no certificate is given; certificate = \"…\" would be right"),
        ("[server.tls]", "server.tls: no key is given; key = \"…\" would be right"),
        ("[server.tls]\ncertificate = \"server.pem\"", "server.tls: no key is given"),
        ("[server.tls]\nclient_ca = \"authority.pem\"", "server.tls: no certificate is given"),
        (
            "[server.tls]\ncertificate = \"nosuch.pem\"\nkey = \"server.key\"",
            "server.tls.certificate: there is no file /etc/gw/nosuch.pem"
        ),
        (
            "[server.tls]\ncertificate = \"server.pem\"\nkey = \"renewed.key\"",
            "server.tls.key: /etc/gw/renewed.key does not belong to the certificate"
        ),
        (
            "[server.tls]\ncertificate = \"server.pem\"\nkey = \"locked.key\"",
            "server.tls.key: /etc/gw/locked.key needs a passphrase"
        ),
        (
            "[server.tls]\ncertificate = \"server.key\"\nkey = \"server.key\"",
            "server.tls.certificate: /etc/gw/server.key has no certificate that can be read"
        ),
        (
            "[server.tls]\ncertificate = \"server.pem\"\nkey = \"server.pem\"",
            "server.tls.key: /etc/gw/server.pem has no private key that can be read"
        ),
        (
            pair + "client_ca = \"server.key\"",
            "server.tls.client_ca: /etc/gw/server.key has no certificate that can be read"
        ),
        (
            pair + "require_client_certificate = true",
            "server.tls.require_client_certificate: goes with client_ca"
        ),
        (pair + "certificates = \"x\"", "server.tls.certificates: unknown key; did you mean \"certificate\"?"),
    ])
    func `what cannot be served is an error that names the key and the file`(_ text: String, _ words: String) throws {
        let outcome = try load(text)
        #expect(outcome.settings == nil)
        let found = try problems(text)
        #expect(found.contains { $0.contains(words) }, "\(found)")
    }

    @Test(arguments: [
        ("nosuch.pem", "nosuch.key", now, 2), ("server.pem", "renewed.key", now, 1),
        ("server.key", "server.key", now, 1),
        ("server.pem", "server.key", validUntil + 1, 1), ("server.pem", "server.key", validFrom - 1, 1),
    ])
    func `what is wrong with the files is wrong here and now, a warning unless the check is strict`(
        _ certificate: String, _ key: String, _ now: Int, _ count: Int
    ) throws {
        let text = "[server.tls]\ncertificate = \"\(certificate)\"\nkey = \"\(key)\""
        let outcome = try load(text, now: now, strict: false)
        #expect(!outcome.hasErrors)
        #expect(outcome.problems.count == count)
        #expect(try load(text, now: now).hasErrors)
    }

    @Test func `a file without an end is not read`() throws {
        let long = [UInt8](repeating: 0x20, count: (1 << 20) + 1)
        let unread = try problems(Self.pair, changes: ["server.pem": long])
        #expect(unread == ["2: server.tls.certificate: cannot read /etc/gw/server.pem: it has more than 1048576 bytes"])
    }

    @Test func `a key that everybody can read is a warning`() throws {
        let found = try problems(Self.pair, isOpen: true)
        #expect(
            found == [
                """
                3: server.tls.key: warning: every user of this machine can read /etc/gw/server.key, and pass for this \
                gateway; chmod o= would be right
                """
            ])
        #expect(try load(Self.pair, isOpen: true).settings != nil)
    }

    @Test(
        arguments: [
            (validFrom - 1, "is not valid before 2020-01-01 00:00:00 UTC", true),
            (validFrom, nil, false),
            (validUntil - 14 * day, nil, false),
            (validUntil - 14 * day + 1, "valid until 2120-01-01 00:00:00 UTC only, that is 13 days", false),
            (validUntil - day - 1, "that is 1 day;", false),
            (validUntil - 1, "that is less than a day;", false),
            (validUntil, "that is less than a day;", false),
            (validUntil + 1, "was valid until 2120-01-01 00:00:00 UTC", true),
        ] as [(Int, String?, Bool)])
    func `outside its days a certificate is an error, and shortly before their end a warning`(
        _ now: Int, _ words: String?, _ isError: Bool
    ) throws {
        let outcome = try load(Self.pair, now: now)
        #expect(outcome.hasErrors == isError)
        #expect(outcome.problems.count == (words == nil ? 0 : 1))
        if let words { #expect(outcome.problems.first?.message.contains(words) == true, "\(outcome.problems)") }
    }

    // MARK: Proxies

    @Test func `proxies are addresses and networks, and change without a restart`() throws {
        let text = "[server]\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\", \"fd00::/8\"]"
        let outcome = try load(text)
        #expect(outcome.problems == [])
        let settings = try #require(outcome.settings)
        #expect(settings.server.trustedProxies == ["127.0.0.1", "10.0.0.0/8", "fd00::/8"])
        let before = try #require(try load("").settings)
        #expect(SettingsDifference(from: before, to: settings).changed == ["server.trusted_proxies"])
    }

    @Test(arguments: [
        ("proxy.example", "\"proxy.example\" is no address and no network; \"10.0.0.1\"", true),
        ("10.0.0.0/40", "is no address and no network", true),
        ("127.0.0.1:80", "is no address and no network", true),
        ("10.0.0.1/8", "\"10.0.0.1/8\" has bits behind its prefix; \"10.0.0.0/8\" would be right", true),
        ("0.0.0.0/0", "warning: 0.0.0.0/0 is everybody", false),
        ("::/0", "warning: ::/0 is everybody", false),
    ])
    func `what is no proxy is refused, and everybody is worth a warning`(
        _ proxy: String, _ words: String, _ isError: Bool
    ) throws {
        let text = "[server]\ntrusted_proxies = [\"\(proxy)\"]"
        let found = try problems(text)
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("2: server.trusted_proxies: ") == true)
        #expect(found.first?.contains(words) == true, "\(found)")
        #expect((try load(text).settings == nil) == isError)
    }

    // MARK: The operators' address

    @Test func `the operators' address is none by itself, and waits for a restart`() throws {
        let without = try #require(try load("").settings)
        #expect(without.admin.listen == nil)
        let with = try #require(try load("[admin]\nlisten = \"10.1.2.3:9090\"").settings)
        #expect(with.admin.listen == ListenAddress(host: "10.1.2.3", port: 9_090))
        let difference = SettingsDifference(from: without, to: with)
        #expect(difference.waiting == ["admin.listen"])
        #expect(difference.changed == [])
        #expect(difference.settings.admin.listen == nil)
    }

    @Test(arguments: [
        ("127.0.0.1:8080", "127.0.0.1:8080", true), ("127.0.0.1:8080", "127.0.0.1:8081", false),
        ("10.0.0.1:80", "10.0.0.2:80", false), ("0.0.0.0:80", "10.0.0.2:80", true),
        ("127.0.0.1:0", "127.0.0.1:0", false), ("127.0.0.1:80", "[::]:80", true),
    ])
    func `two listeners on one address are refused`(_ clients: String, _ operators: String, _ isError: Bool) throws {
        let text =
            "[server]\nlisten = \"\(clients)\"\nallowed_hosts = [\"gw\"]\n[auth]\nallow_anonymous = true\n"
            + "[admin]\nlisten = \"\(operators)\""
        #expect(try problems(text).contains { $0.contains("admin.listen: server.listen takes port") } == isError)
    }

    @Test func `every address of the machine is worth a warning`() throws {
        let found = try problems("[admin]\nlisten = \":9090\"")
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("2: admin.listen: warning: 0.0.0.0:9090 is every address") == true)
    }
}
