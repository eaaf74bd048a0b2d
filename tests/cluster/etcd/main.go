// etcd, built from its module: Debian's is too old for what kube-apiserver asks of it (progress on request).
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
