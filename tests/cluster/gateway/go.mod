module surefoot.dev/tests/cluster/gateway

go 1.26.0
