package embedded

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// endWith ends all streams (watches, lease renewals) when stopping ends. etcd
// itself waits several seconds for its clients to end them, which clients that
// watch never do. They are told what a connection that breaks tells them, so
// that they look for the server again.
func endWith(stopping context.Context) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		ctx, cancel := context.WithCancel(stream.Context())
		defer cancel()
		defer context.AfterFunc(stopping, cancel)()
		err := handle(srv, boundStream{stream, ctx})
		if stopping.Err() != nil {
			return status.Error(codes.Unavailable, "etcd is stopping")
		}
		return err
	}
}

// boundStream is a stream with a context of ours.
type boundStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s boundStream) Context() context.Context { return s.ctx }
