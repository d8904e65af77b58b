// gem.h: y = (mean_i k_i^p)^(1/p), k_i = max(a_i, 1e-6)
template <class V> struct Gem : Plain<V> {
  static constexpr int operands = 1;  // p
  V p, all, y, share;
  ADAPOOL_HD static V kept(V a) { return select(a < V(1e-6), V(1e-6), a); }
  template <class R> ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o) {
    p = o.at[0];
    all = V(0);
    r.each([&](const Tap<V>& t, auto& sum) { sum += pow_of(kept(t.a), p); }, all);
    y = pow_of(all / V(r.count), V(1) / p);
    share = y / all;
  }
  ADAPOOL_HD V pooled() const { return y; }
  ADAPOOL_HD V slope(const Tap<V>& t) const {  // dy / da
    return select(t.a < V(1e-6), V(0), share * pow_of(kept(t.a), p - V(1)));
  }
  template <class R> ADAPOOL_HD V operand(int, const R& r) const {  // dy / dp
    V logs = V(0);
    r.each([&](const Tap<V>& t, auto& sum) { sum += pow_of(kept(t.a), p) * log_of(kept(t.a)); }, logs);
    return y * (logs / all - log_of(all / V(r.count)) / p) / p;
  }
};
