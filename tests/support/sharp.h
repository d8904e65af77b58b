// w = softmax(tau a), y = sum w a
template <class V> struct Sharp : Weighing<V> {
  static constexpr int operands = 1;
  V tau, top, all, centre;
  ADAPOOL_HD V mass(const Tap<V>& t) const { return exp_of(tau * (t.a - top)); }
  template <class R, class Values>
  ADAPOOL_HD void prepare(const R& r, const CellOperands<V>& o, const Values& v, bool) {
    tau = o.at[0];
    Most<V> most;
    r.each([&](const Tap<V>& t, auto& largest) { largest.take(t.a); }, most);
    top = most.value;
    all = centre = V(0);
    V weighed = V(0), activations = V(0);
    r.each([&](const Tap<V>& t, auto& sum, auto& product, auto& own) {
      const V e = mass(t);
      sum += e;
      product += e * v(*this, t);
      own += e * t.a;
    }, all, weighed, activations);
    this->mean = weighed / all;
    centre = activations / all;
  }
  ADAPOOL_HD static V unit() { return V(1); }
  ADAPOOL_HD V weight(const Tap<V>& t) const { return mass(t) / all; }
  ADAPOOL_HD V relative(const Tap<V>& t) const { return t.a; }
  ADAPOOL_HD V pooled() const { return this->mean; }
  template <class Values> ADAPOOL_HD V through(const Tap<V>& t, const Values& v) const {
    return tau * weight(t) * (v(*this, t) - this->mean);
  }
  template <class R, class Values> ADAPOOL_HD V operand(int, const R& r, const Values& v) const {
    V sum = V(0);
    r.each([&](const Tap<V>& t, auto& s) { s += weight(t) * (t.a - centre) * v(*this, t); }, sum);
    return sum;
  }
};
