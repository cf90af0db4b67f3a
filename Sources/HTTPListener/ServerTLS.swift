// Licensed under the Apache License 2.0; see LICENSE.

internal import NIOCore
internal import NIOSSL

/// What a listener needs for speaking TLS: its certificate, the key of that, and whose certificates clients show.
///
/// TLS 1.2 and 1.3, with keys that are of no use to whoever gets hold of the certificate's key later; HTTP/1.1 is what
/// it offers to speak inside. Making one takes about a millisecond; a connection begins with it in some hundred
/// microseconds.
package struct ServerTLS: Sendable {
    /// What clients have to show.
    package enum ClientCertificates: Sendable {
        case notAsked
        /// Who shows none is let in; who shows one that none of these authorities (PEM) has signed is not.
        case optional([UInt8])
        case required([UInt8])
    }

    /// What cannot be used, and why. The words go on after the name of the file.
    package struct Fault: Error, Equatable {
        package enum Part: Sendable { case certificate, key, clientAuthorities }

        package let part: Part
        package let words: String
    }

    let context: NIOSSLContext
    /// When the certificate begins and ends to be valid, in seconds since 1970. That is not looked at here.
    package let validFrom: Int
    package let validUntil: Int

    /// - Parameters:
    ///   - certificate: PEM; the certificate of the listener first, then those that have signed it, one the other.
    ///   - key: PEM, without a passphrase.
    package init(certificate: [UInt8], key: [UInt8], clients: ClientCertificates = .notAsked) throws(Fault) {
        let chain = try Self.certificates(certificate, .certificate)
        let secret = try Self.key(key)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(secret))
        configuration.minimumTLSVersion = .tlsv12
        configuration.cipherSuites = "ECDHE+AESGCM:ECDHE+CHACHA20"
        configuration.applicationProtocols = ["http/1.1"]
        // How long a client may take to say good-bye.
        configuration.shutdownTimeout = .seconds(2)
        switch clients {
        case .notAsked: break
        case .optional(let authorities):
            configuration.certificateVerification = .optionalVerification
            configuration.trustRoots = .certificates(try Self.certificates(authorities, .clientAuthorities))
        case .required(let authorities):
            configuration.certificateVerification = .noHostnameVerification
            configuration.trustRoots = .certificates(try Self.certificates(authorities, .clientAuthorities))
        }
        // So that a client with several certificates knows which one to show.
        configuration.sendCANameList = configuration.trustRoots != nil
        do {
            context = try NIOSSLContext(configuration: configuration)
        } catch NIOSSLError.failedToLoadPrivateKey {
            throw Fault(
                part: .key, words: "does not belong to the certificate; give the key that the certificate was made for")
        } catch {
            throw Fault(part: .certificate, words: "cannot be used for TLS")
        }
        validFrom = chain[0].notValidBefore
        validUntil = chain[0].notValidAfter
    }

    /// The handler that stands between the socket and HTTP.
    func handler() -> NIOSSLServerHandler {
        var configuration = NIOSSLServerHandler.Configuration()
        // One large answer must not leave its buffer behind for as long as the client stays.
        configuration.maximumPreservedOutboundBufferCapacity = 64 << 10
        return NIOSSLServerHandler(context: context, configuration: configuration)
    }

    private static func certificates(_ text: [UInt8], _ part: Fault.Part) throws(Fault) -> [NIOSSLCertificate] {
        guard !text.isEmpty else { throw Fault(part: part, words: "is empty; certificates in PEM form would be right") }
        do { return try NIOSSLCertificate.fromPEMBytes(text) } catch {
            throw Fault(
                part: part,
                words: "has no certificate that can be read; PEM would be right, which begins with "
                    + "-----BEGIN CERTIFICATE-----")
        }
    }

    private static func key(_ text: [UInt8]) throws(Fault) -> NIOSSLPrivateKey {
        guard !text.isEmpty else {
            throw Fault(part: .key, words: "is empty; a private key in PEM form would be right")
        }
        // How both forms of a key with a passphrase begin.
        let words = String(decoding: text, as: UTF8.self)
        guard !words.contains("BEGIN ENCRYPTED PRIVATE KEY"), !words.contains("Proc-Type: 4,ENCRYPTED") else {
            throw Fault(
                part: .key,
                words: "needs a passphrase, and nobody is there to type it; openssl pkey -in OLD -out NEW writes it "
                    + "without one")
        }
        do { return try NIOSSLPrivateKey(bytes: text, format: .pem) } catch {
            throw Fault(
                part: .key,
                words: "has no private key that can be read; PEM would be right, which begins with "
                    + "-----BEGIN PRIVATE KEY-----")
        }
    }
}
