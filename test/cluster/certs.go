package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// A certificate to write as <name>.crt and <name>.key. With addresses it is a
// server's, without it is a client's: Kubernetes reads the user from the common
// name and the groups from the organizations.
type request struct {
	Name          string   `json:"name"`
	CommonName    string   `json:"commonName"`
	Organizations []string `json:"organizations"`
	Addresses     []string `json:"addresses"`
}

const lifetime = 30 * 24 * time.Hour

// writeCertificates is the role vmferry-certs: it reads a JSON list of requests
// from standard input and writes the pairs into the folder named by its first
// argument. The authority (ca.crt, ca.key) and the key that signs service
// account tokens (service-account.key) are made on the first call and used
// again on later ones, so nodes can be added while the cluster runs.
func writeCertificates() int {
	if err := issueAll(); err != nil {
		fmt.Fprintln(os.Stderr, "vmferry-certs:", err)
		return 1
	}
	return 0
}

func issueAll() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: vmferry-certs FOLDER < requests.json")
	}
	folder := os.Args[1]
	var requests []request
	if err := json.NewDecoder(os.Stdin).Decode(&requests); err != nil {
		return fmt.Errorf("read requests: %w", err)
	}
	authority, authorityKey, err := loadOrCreateAuthority(folder)
	if err != nil {
		return err
	}
	for _, r := range requests {
		template := &x509.Certificate{
			Subject:     pkix.Name{CommonName: r.CommonName, Organization: r.Organizations},
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		for _, address := range r.Addresses {
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			if ip := net.ParseIP(address); ip != nil {
				template.IPAddresses = append(template.IPAddresses, ip)
			} else {
				template.DNSNames = append(template.DNSNames, address)
			}
		}
		if _, _, err := issue(folder, r.Name, template, authority, authorityKey); err != nil {
			return fmt.Errorf("certificate %s: %w", r.Name, err)
		}
	}
	return nil
}

func loadOrCreateAuthority(folder string) (*x509.Certificate, crypto.Signer, error) {
	certificate, key, err := loadPair(folder, "ca")
	if !os.IsNotExist(err) {
		return certificate, key, err
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if err := writeKey(folder, "service-account", signer); err != nil {
		return nil, nil, err
	}
	return issue(folder, "ca", &x509.Certificate{
		Subject:               pkix.Name{CommonName: "vmferry test cluster"},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}, nil, nil)
}

// issue signs the template with the authority, or with its own key when there is none yet.
func issue(folder, name string, template, authority *x509.Certificate, authorityKey crypto.Signer) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if authority == nil {
		authority, authorityKey = template, key
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(lifetime)
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), authorityKey)
	if err != nil {
		return nil, nil, err
	}
	if err := writeKey(folder, name, key); err != nil {
		return nil, nil, err
	}
	if err := writePEM(filepath.Join(folder, name+".crt"), "CERTIFICATE", der); err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}

func loadPair(folder, name string) (*x509.Certificate, crypto.Signer, error) {
	der, err := readPEM(filepath.Join(folder, name+".crt"))
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	der, err = readPEM(filepath.Join(folder, name+".key"))
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParseECPrivateKey(der)
	return certificate, key, err
}

func writeKey(folder, name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(folder, name+".key"), "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

func readPEM(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block", path)
	}
	return block.Bytes, nil
}
