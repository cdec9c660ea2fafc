package main

import (
	"context"
	"errors"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const fillOperations = 100 // in one transaction; etcd takes 128

type etcdClient struct {
	etcd    *clientv3.Client
	put     bool
	options []clientv3.OpOption
	value   string
}

func dialEtcd(address string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:   []string{address},
		DialTimeout: 10 * time.Second,
		Logger:      zap.NewNop(),
	})
}

func connectEtcd(address string, s settings) (client, error) {
	etcd, err := dialEtcd(address)
	if err != nil {
		return nil, err
	}
	c := &etcdClient{etcd: etcd, value: string(newValue(s.valueBytes))}
	switch s.operation {
	case "put":
		c.put = true
	case "get":
		c.options = []clientv3.OpOption{clientv3.WithSerializable()}
	case "get-linearizable":
	default:
		return nil, errors.New("etcd: no operation " + s.operation)
	}
	return c, nil
}

func (c *etcdClient) do(key int) error {
	ctx := context.Background()
	if c.put {
		_, err := c.etcd.Put(ctx, keyName(key), c.value)
		return err
	}
	got, err := c.etcd.Get(ctx, keyName(key), c.options...)
	if err == nil && len(got.Kvs) != 1 {
		return errors.New("no such key: " + keyName(key))
	}
	return err
}

func (c *etcdClient) close() { _ = c.etcd.Close() }

// fill writes all keys once, in transactions: as fast as etcd takes them from one client.
func fill(s settings) error {
	etcd, err := dialEtcd(strings.TrimPrefix(s.target, "etcd://"))
	if err != nil {
		return err
	}
	defer func() { _ = etcd.Close() }()
	value := string(newValue(s.valueBytes))
	for first := 0; first < s.keys; first += fillOperations {
		var operations []clientv3.Op
		for key := first; key < min(first+fillOperations, s.keys); key++ {
			operations = append(operations, clientv3.OpPut(keyName(key), value))
		}
		if _, err := etcd.Txn(context.Background()).Then(operations...).Commit(); err != nil {
			return err
		}
	}
	return nil
}
