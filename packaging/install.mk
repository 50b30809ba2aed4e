# Where `make install` puts things.
