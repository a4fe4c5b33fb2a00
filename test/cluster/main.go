// Command cluster is a whole Kubernetes control plane in one binary: it takes
// its role from the name it is called by (argv[0]), so that the test harness
// needs neither containers nor downloaded release binaries.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// command runs one of Kubernetes' own cobra commands as its main function would.
func command(build func() *cobra.Command) func() int {
	return func() int { return cli.Run(build()) }
}

var roles = map[string]func() int{
	"etcd":                    func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver":          command(apiserver.NewAPIServerCommand),
	"kube-controller-manager": command(controllermanager.NewControllerManagerCommand),
	"kube-scheduler":          command(func() *cobra.Command { return scheduler.NewSchedulerCommand() }),
	"kubectl":                 command(kubectl.NewDefaultKubectlCommand),
	"vmferry-certs":           writeCertificates,
}

func main() {
	name := filepath.Base(os.Args[0])
	role, known := roles[name]
	if !known {
		fmt.Fprintf(os.Stderr, "%s is no role of this binary: call it by a link named etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kubectl or vmferry-certs\n", name)
		os.Exit(2)
	}
	os.Exit(role())
}
