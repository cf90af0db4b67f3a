// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import HTTPListener

/// What is between the gateway and its clients: certificates, proxies, the address for operators.
extension SettingsChecks {
    // MARK: TLS

    private static let tlsPath = ["server", "tls"]
    /// The longest file of certificates that is read.
    private static let certificatesBytesMax = 1 << 20
    /// An operator who is told so long before has time to get another certificate.
    private static let expirySoonDays = 14

    /// Reads and parses the files of `[server.tls]`, and keeps what is in them: what was checked is what is served.
    /// What is wrong in them is wrong on this machine, now; an operator's verbs need to work all the same.
    mutating func certificates() {
        let path = Self.tlsPath
        guard report.isWritten(path) else { return }
        for name in ["certificate", "key"] where !report.isWritten(path + [name]) {
            report.error(
                path, "no \(name) is given; \(name) = \"…\" would be right, the path of a file in PEM form")
        }
        let asksClients = report.isWritten(path + ["client_ca"])
        let requires = values.flag("server", "tls", "require_client_certificate")
        if requires, !asksClients {
            report.error(
                path + ["require_client_certificate"],
                "goes with client_ca, which says whose certificates are right, and that is not given; add it")
        }
        let authorities = asksClients ? text("client_ca") : nil
        guard let certificate = text("certificate"), let key = text("key"), (authorities == nil) != asksClients,
            asksClients || !requires
        else { return }
        if files.isOpenToOthers(key.place) {
            report.warning(
                path + ["key"],
                "every user of this machine can read \(key.place), and pass for this gateway; chmod o= would be right")
        }
        let read = GatewaySettings.TLS(
            certificate: certificate.text, key: SecretText(key.text), clientAuthorities: authorities?.text,
            requiresClientCertificate: requires)
        do throws(ServerTLS.Fault) {
            validity(of: try read.room(), certificate.place)
            tls = read
        } catch {
            let (name, place) =
                switch error.part {
                case .certificate: ("certificate", certificate.place)
                case .key: ("key", key.place)
                case .clientAuthorities: ("client_ca", authorities?.place ?? "")
                }
            report.absence(path + [name], "\(place) \(error.words)")
        }
    }

    private mutating func validity(of certificate: ServerTLS, _ place: String) {
        let path = Self.tlsPath + ["certificate"]
        let now = files.now()
        if now < certificate.validFrom {
            report.absence(
                path,
                """
                the certificate in \(place) is not valid before \(Self.text(certificate.validFrom)); wait for that, or \
                look whether this machine's clock is right
                """
            )
        } else if now > certificate.validUntil {
            report.absence(
                path,
                """
                the certificate in \(place) was valid until \(Self.text(certificate.validUntil)); put a new one there, \
                or look whether this machine's clock is right
                """
            )
        } else if certificate.validUntil - now < Self.expirySoonDays * 86_400 {
            let days = (certificate.validUntil - now) / 86_400
            report.warning(
                path,
                """
                the certificate in \(place) is valid until \(Self.text(certificate.validUntil)) only, that is \
                \(days == 0 ? "less than a day" : "\(days) day\(days == 1 ? "" : "s")"); put a new one there and reload
                """
            )
        }
    }

    private static func text(_ seconds: Int) -> String {
        // Years beyond all bounds mean for ever.
        let milliseconds = Int64(seconds).multipliedReportingOverflow(by: 1_000)
        return WallTime.text(milliseconds: milliseconds.overflow ? .max : milliseconds.partialValue).prefix(19) + " UTC"
    }

    /// What is in one of the files; nil when that cannot be had, which has been reported then.
    private mutating func text(_ name: String) -> (place: String, text: String)? {
        guard let place = values.knownText("server", "tls", name), files.kind(place) == .file, files.isReadable(place)
        else { return nil }
        do {
            let bytes = try files.read(place, Self.certificatesBytesMax)
            return (place, String(decoding: bytes, as: UTF8.self))
        } catch {
            report.absence(Self.tlsPath + [name], "cannot read \(place): \(error.reason)")
            return nil
        }
    }

    // MARK: Proxies

    mutating func proxies() {
        let path = ["server", "trusted_proxies"]
        for text in values.texts("server", "trusted_proxies") where !SettingsExpansion.isNeeded(text) {
            do throws(AddressRange.Fault) {
                guard try AddressRange(text).isEverything else { continue }
                report.warning(
                    path,
                    "\(text) is everybody, so that whoever comes may say any address is its own; name the proxies")
            } catch {
                switch error {
                case .unreadable:
                    report.error(
                        path,
                        """
                        \(SettingsUnits.excerpt(text)) is no address and no network; \"10.0.0.1\", \"10.0.0.0/8\" or \
                        \"fd00::/8\" would be right
                        """
                    )
                case .hasHostBits(let meant):
                    report.error(
                        path, "\(SettingsUnits.excerpt(text)) has bits behind its prefix; \"\(meant)\" would be right")
                }
            }
        }
    }

    // MARK: The operators' address

    mutating func operatorsAddress() {
        let path = ["admin", "listen"]
        guard let own = values.optionalAddress("admin", "listen") else { return }
        let clients = values.address("server", "listen")
        let isShared = own.host == clients.host || own.isEverywhere || clients.isEverywhere
        if own.port == clients.port, own.port != 0, isShared {
            report.error(
                path,
                "server.listen takes port \(own.port) of this address already; another port would be right, such as "
                    + "\"\(ListenAddress(host: own.host, port: own.port == 9_090 ? 9_091 : 9_090))\"")
        } else if own.isEverywhere {
            report.warning(
                path,
                """
                \(own) is every address of the machine, also those that strangers reach, and there is no TLS here; \
                name one private address
                """
            )
        }
    }
}
