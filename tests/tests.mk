# How the tests are built and run.
