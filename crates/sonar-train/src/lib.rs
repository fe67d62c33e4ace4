//! Autodiff (graph to graph), optimisers, data sets.
