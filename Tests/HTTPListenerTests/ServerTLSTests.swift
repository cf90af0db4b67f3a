// Licensed under the Apache License 2.0; see LICENSE.

import HTTPListener
import Testing

/// What can be used for TLS and what cannot, in words that go on after the name of a file.
@Suite("Certificates of a listener") struct ServerTLSTests {
    private func fault(
        _ certificate: [UInt8], _ key: [UInt8], _ clients: ServerTLS.ClientCertificates = .notAsked
    ) -> ServerTLS.Fault? {
        do throws(ServerTLS.Fault) { _ = try ServerTLS(certificate: certificate, key: key, clients: clients) } catch {
            return error
        }
        return nil
    }

    @Test("A certificate with its key can be used, and tells when it is valid")
    func good() throws {
        let tls = try ServerTLS(
            certificate: try TLSFixture.bytes("server.pem"), key: try TLSFixture.bytes("server.key"))
        #expect(tls.validFrom == 1_577_836_800)
        #expect(tls.validUntil == 4_733_510_400)
    }

    @Test("The certificate comes first and those that have signed it behind it; key and certificate may share a file")
    func chain() throws {
        let (leaf, authority) = (try TLSFixture.bytes("server.pem"), try TLSFixture.bytes("authority.pem"))
        let key = try TLSFixture.bytes("server.key")
        #expect(fault(leaf + authority, key) == nil)
        #expect(fault(key + leaf + authority, key + leaf) == nil)
        #expect(fault(authority + leaf, key)?.part == .key)
    }

    @Test("A key of another certificate is refused")
    func wrongKey() throws {
        let fault = fault(try TLSFixture.bytes("server.pem"), try TLSFixture.bytes("renewed.key"))
        #expect(fault?.part == .key)
        #expect(fault?.words.contains("does not belong to the certificate") == true)
    }

    @Test("A key with a passphrase is refused with the command that takes it away")
    func lockedKey() throws {
        let fault = fault(try TLSFixture.bytes("server.pem"), try TLSFixture.bytes("locked.key"))
        #expect(fault?.part == .key)
        #expect(fault?.words.contains("openssl pkey") == true)
    }

    @Test("What is empty, cut short or something else is refused, and told which it is")
    func unreadable() throws {
        let (leaf, key) = (try TLSFixture.bytes("server.pem"), try TLSFixture.bytes("server.key"))
        for bad in [[], Array("hello".utf8), Array(leaf.dropLast(40)), key] {
            #expect(fault(bad, key)?.part == .certificate)
            #expect(fault(leaf, key, .required(bad))?.part == .clientAuthorities)
            #expect(fault(leaf, key, .optional(bad))?.part == .clientAuthorities)
        }
        for bad in [[], Array("hello".utf8), Array(key.dropLast(40)), leaf] { #expect(fault(leaf, bad)?.part == .key) }
        let second = Array("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".utf8)
        #expect(fault(leaf + second, key)?.part == .certificate)
    }
}
